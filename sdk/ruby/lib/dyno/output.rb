# frozen_string_literal: true

module Dyno
  # Redirects the output of an app to the log, because descriptor 1 carries responses.
  module Output
    # Overrides the methods of STDOUT to which all others delegate.
    module ToLog
      def write(*strings) = LOG.write(*strings)
      def syswrite(string) = LOG.write(string)
      def write_nonblock(string, **) = LOG.write(string)
      def flush = self
    end

    # Keeps the log open when an app closes its logger.
    module StaysOpen
      def close = nil
    end

    STDOUT.singleton_class.prepend(ToLog, StaysOpen)
    LOG.singleton_class.prepend(StaysOpen)
    $stdout = STDOUT

    # Restores the real streams, for commands whose output the user sees.
    def self.real
      $stdout = OUTPUT
      $stdin = INPUT
    end
  end
end
