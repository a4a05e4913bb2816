# frozen_string_literal: true

module Dyno
  # The standard streams of an app. What it writes to them is in its log, line by line.
  module Output
    # Keeps the log open when an app closes its logger.
    module StaysOpen
      def close = nil
    end

    [STDOUT, LOG].each { |stream| stream.singleton_class.prepend(StaysOpen) }

    # Gives a command a standard output as a process has it. The descriptors are the client's streams then, and this
    # process's only ones.
    def self.real
      options = defined?(Native) ? { path: "<STDOUT>" } : {}
      $stdout = IO.new(1, "w", autoclose: false, **options)
      # A terminal gets each line at once.
      $stdout.sync = true if $stdout.tty?
      Object.send(:remove_const, :STDOUT)
      Object.const_set(:STDOUT, $stdout)
      IO.singleton_class.prepend(Terminal)
    end

    # Overrides IO.console, which opens /dev/tty: the terminal of a command is its standard input.
    module Terminal
      def console(*call)
        return unless $stdin.tty?

        @dyno_console = nil if @dyno_console&.closed?
        @dyno_console ||= IO.new(0, "r+", autoclose: false).tap { |console| console.sync = true }
        return @dyno_console if call.empty?
        return @dyno_console.public_send(*call) unless call == [:close]

        @dyno_console = nil
      end
    end
  end
end
