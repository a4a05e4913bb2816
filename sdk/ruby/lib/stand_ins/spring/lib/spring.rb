# frozen_string_literal: true

# Stands in for Spring, which keeps an app loaded between commands: a dyno starts from the memory of a loaded app.
module Spring
  class << self
    def watch(*) = nil
    def after_environment_load = nil
  end
end
