# frozen_string_literal: true

# Stands in for the gem debug, whose C extension a dyno lacks. A breakpoint does not stop the program.
module Kernel
  def debugger(**)
    warn "debugger: the gem debug does not work in a dyno", uplevel: 0
  end
end

# Defines the methods that set breakpoints.
class Binding
  def break(**) = debugger
  alias b break
end
