# frozen_string_literal: true

module Dyno
  # A dyno's process number, arguments and environment. The host passes them in the files of proc(5), and to a restored
  # dyno before its first request.
  module Self
    CHUNK = 1 << 12

    @environ = nil
    @pid = 0

    class << self
      attr_reader :pid, :arguments

      # Reads the environment, arguments and process number from /proc.
      def refresh
        replace_environ(File.binread("/proc/self/environ"))
        arguments = File.binread("/proc/self/cmdline").force_encoding(Encoding::UTF_8)
        @arguments = arguments.split("\0", -1)[0..-2]
        self.pid = File.binread("/proc/self/stat").to_i
      end

      # Reads the process number and environment of a restored dyno. The environment normally differs from the image's in
      # the first variable alone, which is the dyno's name.
      def wake
        record = INPUT.sysread(CHUNK)
        record << INPUT.sysread(CHUNK) until record.end_with?("\0\0")
        pid, name, rest = record.split("\0", 3)
        self.pid = pid.to_i
        return replace_environ("#{name}\0#{rest}") if rest.nil? || rest.chomp("\0") != @environ

        name.force_encoding(Encoding::UTF_8)
        ENV.store(*name.split("=", 2))
      end

      # Calls the fork hooks. A restored dyno is like a forked process: libraries that hold connections must drop them.
      def forked
        Process._fork if Process.method(:_fork).owner != HOOK_BASE
      rescue NotImplementedError
        nil
      end

      private

      def pid=(number)
        @pid = number
        Native.process_number = number if defined?(Native)
      end

      def replace_environ(environ)
        pairs = environ.dup.force_encoding(Encoding::UTF_8).split("\0").reject(&:empty?)
        ENV.replace(pairs.to_h { |pair| pair.split("=", 2) })
        @environ = environ
      end
    end

    # Defines Process._fork for the case that no library overrides it.
    module Hook
      def _fork = 0
    end

    HOOK_BASE = Hook
  end
end

unless defined?(Dyno::Native)
  module Process
    class << self
      alias dyno_pid pid
      alias dyno_kill kill
      private :dyno_pid, :dyno_kill

      # Replaces getpid, whose result is the same in every dyno of an npm build.
      def pid = Dyno::Self.pid

      # Same as in Ruby, which knows the dyno by the other number.
      def kill(signal, *numbers)
        dyno_kill(signal, *numbers.map { |number| number == pid ? dyno_pid : number })
      end
    end
  end
end

Process.singleton_class.send(:remove_method, :_fork) if Process.singleton_methods(false).include?(:_fork)
Process.extend(Dyno::Self::Hook)

# MRI's own method compacts the heap, also where GC.compact is not implemented, and aborts there.
if Process.respond_to?(:warmup) && !GC.respond_to?(:compact)
  def Process.warmup
    GC.start
    true
  end
end
