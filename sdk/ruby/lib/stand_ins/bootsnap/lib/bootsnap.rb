# frozen_string_literal: true

# Stands in for Bootsnap: an app loads its code once, when it is pushed.
module Bootsnap
  class << self
    attr_accessor :logger, :instrumentation

    def setup(**) = nil
    def default_setup = nil
    def log! = nil
    def log_stats! = nil
    def unload_cache! = nil
    def instrumentation? = false
  end
end
