# frozen_string_literal: true

module Dyno
  # What the platform tells a dyno of itself, in the files of proc(5).
  module Self
    @environ = nil
    @pid = 0

    class << self
      attr_reader :pid, :arguments

      # Reads environment, arguments and process number. Most variables are those of the image already.
      def refresh
        environ = File.binread("/proc/self/environ")
        replace_environ(environ) if environ != @environ
        @arguments = File.binread("/proc/self/cmdline").split("\0")
        @pid = File.binread("/proc/self/stat").to_i
      end

      # Restoring is like a fork: libraries that hold connections drop them in their own fork hooks.
      def forked
        Process._fork if Process.method(:_fork).owner != HOOK_BASE
      rescue NotImplementedError
        nil
      end

      private

      def replace_environ(environ)
        known = {}
        environ.force_encoding(Encoding::UTF_8).split("\0").each do |pair|
          name, value = pair.split("=", 2)
          known[name] = value
          ENV[name] = value unless ENV[name] == value
        end
        (ENV.keys - known.keys).each { |name| ENV.delete(name) }
        @environ = environ.b
      end
    end

    # Answers Process._fork where nobody has hooked it.
    module Hook
      def _fork = 0
    end

    HOOK_BASE = Hook
  end
end

module Process
  class << self
    # The number that getpid would give is the same in every dyno.
    def pid = Dyno::Self.pid
  end
end

Process.singleton_class.send(:remove_method, :_fork) if Process.singleton_methods(false).include?(:_fork)
Process.extend(Dyno::Self::Hook)
