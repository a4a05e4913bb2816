# frozen_string_literal: true

require "open3"
require "stringio"

module Dyno
  module Extension
    # Lets Ruby code of a build start programs as usual: `system`, backquotes, IO.popen, Process.spawn and Open3 run those of
    # Programs, one after the other.
    module Processes
      # Number of the process that a command would be.
      NUMBER = 100

      class << self
        # Makes the program's own methods use this module, for the rest of the process.
        def install
          [Kernel, Object, Kernel.singleton_class].each { |target| target.prepend(KernelMethods) }
          IO.singleton_class.prepend(IOMethods)
          Process.singleton_class.prepend(ProcessMethods)
          Open3.singleton_class.prepend(Open3Methods)
        end

        # Runs a command as `system` gets it: an environment, one line or several words, and options. Sets $?.
        def run(arguments)
          words = arguments.dup
          options = words.last.is_a?(Hash) ? words.pop : {}
          environment = words.first.is_a?(Hash) ? words.shift : {}
          words.map! { |word| word.is_a?(Array) ? word.first.to_s : word.to_s }
          directory = options[:chdir] ? File.expand_path(options[:chdir]) : Dir.pwd
          result = with_environment(environment) do
            words.length > 1 ? Programs.run(words, directory) : Shell.run(words.first.to_s, directory)
          end
          Native.last_status = result.status
          redirect(result, options)
        end

        # Runs a command, and writes what no option directs elsewhere to the program's own streams.
        def run_with_streams(arguments)
          result = run(arguments)
          $stdout.write(result.output)
          $stderr.write(result.errors)
          $stdout.flush
          result
        end

        def missing(result, arguments)
          name = arguments.grep_v(Hash).first
          name = name.first if name.is_a?(Array)
          raise Errno::ENOENT, name.to_s[/\S+/] if result.status == Programs::NOT_FOUND
        end

        private

        def with_environment(variables)
          before = variables.to_h { |name, _| [name, ENV[name]] }
          ENV.update(variables)
          yield
        ensure
          ENV.update(before) if before
        end

        # Writes output where the options of a command direct it, and returns the rest.
        def redirect(result, options)
          options.each do |from, to|
            Array(from).each do |stream|
              case stream
              when :err, 2, $stderr, STDERR then result.errors = direct(result, result.errors, to, :output)
              when :out, 1, $stdout, STDOUT then result.output = direct(result, result.output, to, :errors)
              end
            end
          end
          result
        end

        def direct(result, text, to, other)
          case to
          when String then File.open(to, "ab") { |file| file.write(text) } unless to == File::NULL
          when IO, StringIO then to.write(text)
          when Array
            return join(result, text, other) if to.first == :child

            File.open(*to) { |file| file.write(text) }
          when Symbol, Integer then join(result, text, other)
          end
          +""
        end

        def join(result, text, other)
          result[other] += text
          +""
        end
      end

      # Methods of Kernel.
      module KernelMethods
        def system(*arguments, exception: false, **options)
          result = Processes.run_with_streams([*arguments, options])
          Processes.missing(result, arguments) if exception
          raise "Command failed with exit #{result.status}: #{arguments.grep(String).first}" if exception && !result.status.zero?

          result.status == Programs::NOT_FOUND ? nil : result.status.zero?
        end

        def `(line)
          result = Processes.run([line])
          Processes.missing(result, [line])
          $stderr.write(result.errors)
          result.output
        end

        def spawn(...)
          Process.spawn(...)
        end
      end

      # Methods of IO.
      module IOMethods
        def popen(*arguments, **options)
          words = arguments.first.is_a?(Hash) ? arguments.drop(1) : arguments
          command = words.first
          inner = command.is_a?(Array) ? command.grep(Hash).reduce({}, :merge).select { |key, _| !key.is_a?(String) } : {}
          words = command.is_a?(Array) ? command.grep_v(Hash) : [command]
          result = Processes.run([*words, inner.merge(options)])
          Processes.missing(result, words)
          $stderr.write(result.errors)
          stream = StringIO.new(result.output)
          stream.define_singleton_method(:pid) { NUMBER }
          block_given? ? yield(stream) : stream
        end
      end

      # Methods of Process.
      module ProcessMethods
        def spawn(*arguments, **options)
          Processes.missing(Processes.run_with_streams([*arguments, options]), arguments)
          NUMBER
        end

        def wait(*)
          NUMBER
        end
        alias waitpid wait

        def wait2(*)
          [NUMBER, $?]
        end
        alias waitpid2 wait2

        def detach(*)
          status = $?
          Thread.new { status }.tap { |thread| thread.define_singleton_method(:pid) { NUMBER } }
        end
      end

      # Methods of Open3, which otherwise reads and writes through pipes.
      module Open3Methods
        def capture3(*arguments, stdin_data: "", binmode: false, **options)
          result = Processes.run([*arguments, options])
          Processes.missing(result, arguments)
          [result.output, result.errors, $?]
        end

        def capture2(*arguments, **options)
          output, errors, status = capture3(*arguments, **options)
          $stderr.write(errors)
          [output, status]
        end

        def capture2e(*arguments, **options)
          output, errors, status = capture3(*arguments, **options)
          [output + errors, status]
        end

        def popen3(*arguments, **options)
          output, errors, status = capture3(*arguments, **options)
          streams = [StringIO.new, StringIO.new(output), StringIO.new(errors), Thread.new { status }]
          block_given? ? yield(*streams) : streams
        end
      end

      # Command lines with the few parts of a shell's language that Makefiles and scripts use.
      module Shell
        # Separators of commands that no quotes enclose.
        SEPARATOR = /\s*(&&|\|\||;)\s*(?=(?:[^'"]|'[^']*'|"[^"]*")*\z)/

        # `$NAME`, `${NAME}`, and `${NAME%% *}`, the first word.
        VARIABLE = /\$(?:\{(\w+)(%% \*)?\}|(\w+))/

        class << self
          # Replaces variables of the environment.
          def substitute(line)
            line.gsub(VARIABLE) { $2 ? ENV.fetch($1, "").split(" ").first.to_s : ENV.fetch($1 || $3, "") }
          end

          def run(line, directory)
            result = Tools::Result.new(0, +"", +"")
            separator = nil
            line.split(SEPARATOR).each_slice(2) do |command, following|
              skipped = (separator == "&&" && !result.status.zero?) || (separator == "||" && result.status.zero?)
              directory = simple(command, directory, result) unless skipped || command.strip.empty?
              separator = following
            end
            result
          end

          private

          # Runs a command, adds to `result`, and returns the directory of the next one.
          def simple(command, directory, result)
            negated = command.start_with?("! ")
            words, redirections = redirections(Shellwords.split(command.sub(/\A(?:!\s+|[({]\s*)/, "").sub(/\s*[)}](?=\s|\z)/, "")))
            return change_directory(words, directory, result) if words.first == "cd"

            one = words.empty? ? Tools::Result.new(0, +"", +"") : Programs.run(words, directory)
            redirections.each { |stream, mode, path| write(one, stream, mode, File.expand_path(path, directory)) }
            result.status = negated ? (one.status.zero? ? 1 : 0) : one.status
            result.output << one.output
            result.errors << one.errors
            directory
          end

          def change_directory(words, directory, result)
            to = File.expand_path(words.fetch(1, "~"), directory)
            result.status = Dir.exist?(to) ? 0 : 1
            result.status.zero? ? to : directory
          end

          # Splits the words of a command from `> FILE`, `2>&1` and their like.
          def redirections(words)
            found = []
            kept = []
            until words.empty?
              case word = words.shift
              when "2>&1", "1>&2", ">&2" then next
              when "<" then words.shift
              when /\A([12]?)(>>?)\z/ then found << [$1, $2, words.shift.to_s]
              when /\A([12]?)(>>?)([^&].*)\z/ then found << [$1, $2, $3]
              else kept << word
              end
            end
            [kept, found]
          end

          def write(result, stream, mode, path)
            text = stream == "2" ? result.errors : result.output
            stream == "2" ? result.errors = +"" : result.output = +""
            return if path == File::NULL

            File.open(path, mode == ">>" ? "ab" : "wb") { |file| file.write(text) }
          end
        end
      end
    end
  end
end
