# frozen_string_literal: true

# Replaces the standard library's module in the npm builds, which have no threads. Nothing can interrupt a block there,
# so the error is raised when the block ends; only `sleep` ends in time.
module Timeout
  # Same as in the standard library.
  class ExitException < Exception; end # rubocop:disable Lint/InheritException

  # Same as in the standard library.
  class Error < RuntimeError
    def self.handle_timeout(message) = raise(self, message)
  end

  VERSION = "0.4.1"

  # Deadlines of the running blocks, the innermost last, as times of the monotonic clock.
  Deadline = Struct.new(:at, :error, :message)
  @deadlines = []

  class << self
    def timeout(seconds, error = nil, message = nil)
      return yield(seconds) if seconds.nil? || seconds.zero?
      raise ArgumentError, "Timeout sec must be a non-negative number" if seconds.negative?

      deadline = Deadline.new(now + seconds, error, message || "execution expired")
      catch(deadline) do
        result = guard(deadline) { yield(seconds) }
        # The app may have rescued the error class that it passed within the block; then the timeout is over.
        return result if error ? deadline.at.negative? || deadline.at >= now : deadline.at >= now
      end
      raise(error || Error, deadline.message)
    end

    # Returns the seconds until the first deadline, or nil if no block has one.
    def left
      first = @deadlines.min_by(&:at)
      first && [first.at - now, 0].max
    end

    # Leaves the outermost block whose deadline has passed.
    def expired
      over = @deadlines.find { |deadline| deadline.at <= now }
      return unless over

      over.at = -1.0
      # The app may rescue its own error class within the block; code within the block cannot rescue a throw.
      over.error ? raise(over.error, over.message) : throw(over)
    end

    private

    def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

    def guard(deadline)
      @deadlines.push(deadline)
      yield
    ensure
      @deadlines.pop
    end
  end

  def timeout(...) = Timeout.timeout(...)
end
$LOADED_FEATURES << "timeout.rb"
