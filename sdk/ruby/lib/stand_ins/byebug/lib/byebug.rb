# frozen_string_literal: true

# Stands in for Byebug, whose C extension a dyno lacks. A breakpoint does not stop the program.
module Kernel
  def byebug
    warn "byebug: this debugger does not work in a dyno", uplevel: 0
  end
  alias debugger byebug unless method_defined?(:debugger)
end
