# frozen_string_literal: true

module Dyno
  # Redirects the standard output of an app to the log in builds in which descriptor 1 carries responses.
  module StandardOutput
    # Overrides the methods of STDOUT to which all others delegate.
    module ToLog
      def write(*strings) = LOG.write(*strings)
      def syswrite(string) = LOG.write(string)
      def write_nonblock(string, **) = LOG.write(string)
      def flush = self
    end

    STDOUT.singleton_class.prepend(ToLog)
  end
end
