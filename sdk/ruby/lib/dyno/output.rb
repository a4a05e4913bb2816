# frozen_string_literal: true

module Dyno
  # What an app prints goes to the log: the real descriptor 1 carries responses.
  module Output
    # Put before the methods of STDOUT through which everything is written.
    module ToLog
      def write(*strings) = LOG.write(*strings)
      def syswrite(string) = LOG.write(string)
      def write_nonblock(string, **) = LOG.write(string)
      def flush = self
    end

    # A logger that is closed must not take the log with it.
    module StaysOpen
      def close = nil
    end

    STDOUT.singleton_class.prepend(ToLog, StaysOpen)
    LOG.singleton_class.prepend(StaysOpen)
    $stdout = STDOUT

    # For commands, whose output is what they print.
    def self.real
      $stdout = OUTPUT
      $stdin = INPUT
    end
  end
end
