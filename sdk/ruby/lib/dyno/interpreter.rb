# frozen_string_literal: true

module Dyno
  # Runs `ruby` with the arguments of a command line. In the build from source, MRI itself reads them (dyno_run in
  # sdk/ruby/ext/dyno.c). The builds from npm cannot read a second command line, so that this module knows the frequent
  # options; handlers of at_exit do not run there.
  module Interpreter
    class << self
      if defined?(Native)
        # Returns the command line for MRI.
        def arguments(arguments) = ["ruby", *arguments]
      else
        # Runs the program and returns its status.
        def arguments(arguments)
          until arguments.empty?
            option = arguments.shift
            case option
            when "-e" then return evaluate(arguments.shift.to_s, arguments)
            when "-v", "--version" then return $stdout.write(RUBY_DESCRIPTION, "\n") && 0
            when /\A-r(.+)/ then require($1)
            when /\A-I(.+)/ then $LOAD_PATH.unshift(File.expand_path($1, "/app"))
            when "-w", /\A-W/ then next
            when "--" then return script(arguments.shift, arguments)
            when "-" then return evaluate($stdin.read, arguments)
            when /\A-/ then return complain("ruby: option #{option} is not available in this build of Ruby")
            else return script(option, arguments)
            end
          end
          evaluate($stdin.read, [])
        end

        private

        def evaluate(source, arguments)
          ARGV.replace(arguments)
          TOPLEVEL_BINDING.eval(source, "-e")
          $stdout.flush
          0
        end

        def script(path, arguments)
          return complain("ruby: No such file or directory -- #{path} (LoadError)") unless File.file?(path)

          ARGV.replace(arguments)
          $0 = path
          Kernel.load(File.expand_path(path))
          $stdout.flush
          0
        end

        def complain(message)
          LOG.write("#{message}\n")
          1
        end
      end
    end
  end
end
