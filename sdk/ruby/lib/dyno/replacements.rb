# frozen_string_literal: true

# What this build of MRI lacks, or does only with threads.

# There are no threads, so nothing can interrupt a block: the host ends a dyno that takes too long. The error is raised
# afterwards, as soon as it can be known.
module Timeout
  # As the standard library's.
  class ExitException < Exception; end # rubocop:disable Lint/InheritException

  # As the standard library's.
  class Error < RuntimeError
    def self.handle_timeout(message) = raise(self, message)
  end

  VERSION = "0.0.0"

  def self.timeout(seconds, error = nil, message = nil)
    return yield(seconds) if seconds.nil? || seconds.zero?
    raise ArgumentError, "Timeout sec must be a non-negative number" if seconds.negative?

    deadline = Process.clock_gettime(Process::CLOCK_MONOTONIC) + seconds
    result = yield(seconds)
    return result if Process.clock_gettime(Process::CLOCK_MONOTONIC) <= deadline

    raise(error || Error, message || "execution expired")
  end

  def timeout(...) = Timeout.timeout(...)
end
$LOADED_FEATURES << "timeout.rb"

# IO#wait_readable and the like are Ruby's own by now.
$LOADED_FEATURES << "io/wait.rb"
