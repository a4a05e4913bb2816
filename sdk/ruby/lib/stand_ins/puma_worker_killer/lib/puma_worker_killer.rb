# frozen_string_literal: true

# Stands in for the watcher of Puma's workers: the node replaces dynos that grow.
module PumaWorkerKiller
  class << self
    def method_missing(*) = nil
    def respond_to_missing?(*) = true
  end
end
