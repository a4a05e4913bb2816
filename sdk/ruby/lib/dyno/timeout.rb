# frozen_string_literal: true

# As the standard library's, which needs a thread for it. The host ends time slices; where MRI is of our own build, it looks
# at the deadline each time (Native.deadline), so a block is interrupted in the middle of what it computes, and `sleep`
# ends in time. In the npm builds nothing can interrupt a block: the error is raised afterwards, as soon as it can be known.
module Timeout
  # As the standard library's.
  class ExitException < Exception; end # rubocop:disable Lint/InheritException

  # As the standard library's.
  class Error < RuntimeError
    def self.handle_timeout(message) = raise(self, message)
  end

  VERSION = "0.4.1"

  # Deadlines of the blocks that run, the innermost last: each is a time of the monotonic clock.
  Deadline = Struct.new(:at, :error, :message)
  @deadlines = []

  class << self
    def timeout(seconds, error = nil, message = nil)
      return yield(seconds) if seconds.nil? || seconds.zero?
      raise ArgumentError, "Timeout sec must be a non-negative number" if seconds.negative?

      deadline = Deadline.new(now + seconds, error, message || "execution expired")
      catch(deadline) do
        result = guard(deadline) { yield(seconds) }
        # An error that the app named, and rescued in the block, has had its effect.
        return result if error ? deadline.at.negative? || deadline.at >= now : deadline.at >= now
      end
      raise(error || Error, deadline.message)
    end

    # Seconds that are left, of a sleep too; nil when no block has a deadline.
    def left
      first = @deadlines.min_by(&:at)
      first && [first.at - now, 0].max
    end

    # Leaves the outermost block whose time is over. Called when a time slice has ended after the first deadline.
    def expired
      over = @deadlines.find { |deadline| deadline.at <= now }
      return arm unless over

      over.at = -1.0
      # What the app named, it may rescue inside of the block; nothing else can.
      over.error ? raise(over.error, over.message) : throw(over)
    end

    private

    def now = Process.clock_gettime(Process::CLOCK_MONOTONIC)

    def guard(deadline)
      @deadlines.push(deadline)
      arm
      yield
    ensure
      @deadlines.pop
      arm
    end

    if defined?(Dyno::Native)
      def arm
        first = @deadlines.min_by(&:at)
        Dyno::Native.deadline = first&.at
      end
    else
      def arm = nil
    end
  end

  def timeout(...) = Timeout.timeout(...)
end
$LOADED_FEATURES << "timeout.rb"
