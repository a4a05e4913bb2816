# frozen_string_literal: true

# Stands in for Listen: the files of a running app do not change.
module Listen
  # Listener that nothing calls.
  class Listener
    def start = nil
    def stop = nil
    def pause = nil
    def ignore(*) = nil
    def ignore!(*) = nil
    def only(*) = nil
    def processing? = false
    def paused? = false
    def stopped? = true
  end

  def self.to(*, **) = Listener.new
  def self.stop = nil
end
