# frozen_string_literal: true

module Dyno
  # The commands of a Procfile and of `corundum run` that a sandbox without processes supports.
  module Command
    class << self
      # Returns the rackup file in the arguments of a web command [default: config.ru].
      def rackup_file(arguments)
        named = arguments.find { |argument| argument.end_with?(".ru") }
        File.expand_path(named || "config.ru", "/app")
      end

      # Runs a command, and returns its exit status.
      def run(arguments)
        Bundle.locate
        if arguments.first(2) == %w[bundle exec]
          arguments = arguments.drop(2)
          Bundle.setup
        end
        command, *rest = arguments
        case command
        when "corundum-gemfile" then gemfile
        when "corundum-gemspecs" then gemspecs
        when "ruby" then ruby(rest)
        when "rake" then rake(rest)
        when /\.rb\z/ then script(command, rest)
        else unknown(command)
        end
      end

      private

      def gemfile
        Dir.chdir("/app")
        OUTPUT.write(JSON.generate(Gemfile.evaluate("/app/Gemfile")))
        0
      end

      def gemspecs
        OUTPUT.write(JSON.generate(Gemfile.specifications("/app/.corundum/metadata")))
        0
      end

      def ruby(arguments)
        until arguments.empty?
          option = arguments.shift
          case option
          when "-e" then return evaluate(arguments.shift.to_s, arguments)
          when "-v", "--version" then return OUTPUT.write(RUBY_DESCRIPTION, "\n") && 0
          when /\A-r(.+)/ then require($1)
          when /\A-I(.+)/ then $LOAD_PATH.unshift(File.expand_path($1, "/app"))
          when "-w", "-W0", "--" then next
          when /\A-/ then return complain("ruby: option #{option} is not available in a dyno", 2)
          else return script(option, arguments)
          end
        end
        evaluate(INPUT.read, [])
      end

      def evaluate(source, arguments)
        ARGV.replace(arguments)
        prepare
        TOPLEVEL_BINDING.eval(source, "-e")
        finish
      end

      def script(path, arguments)
        full = File.expand_path(path, "/app")
        return complain("ruby: no such file: #{path}", 1) unless File.file?(full)

        ARGV.replace(arguments)
        prepare
        $0 = path
        Kernel.load(full)
        finish
      end

      def rake(arguments)
        prepare
        Bundle.setup
        require "rake"
        ::Rake.application.run(arguments)
        finish
      end

      def prepare
        Dir.chdir("/app")
      end

      def finish
        $stdout.flush
        0
      end

      def unknown(command)
        complain("#{command}: command not found. A dyno runs `ruby FILE`, `ruby -e CODE` and `rake TASK`.", 127)
      end

      def complain(message, status)
        OUTPUT.write(message, "\n")
        status
      end
    end
  end
end
