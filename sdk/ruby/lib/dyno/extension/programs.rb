# frozen_string_literal: true

module Dyno
  module Extension
    # Programs that builds start. Compilers run outside of the dyno; the few programs for files that Makefiles and scripts use
    # are Ruby here.
    module Programs
      COMPILERS = %w[cc c++ gcc g++ clang clang++ ar ranlib strip nm pkg-config].freeze
      # Status of a shell for a program that does not exist.
      NOT_FOUND = 127

      Result = Tools::Result

      class << self
        # Runs a command, an Array of words without the meaning that a shell would give them.
        def run(words, directory = Dir.pwd)
          words = words.drop(1) while words.first&.match?(/\A[A-Za-z_]\w*=/)
          name, *arguments = words
          program = File.basename(name.to_s)
          return Tools.call([program, *arguments], directory) if COMPILERS.include?(program)
          return conftest(name) if program.start_with?("conftest") && File.file?(File.expand_path(name, directory))
          return make(arguments, directory) if program.match?(/\Ag?make\z/)

          return done if [nil, ":"].include?(name)

          method = :"run_#{program}"
          return missing(name) unless respond_to?(method, true)

          Dir.chdir(directory) { send(method, arguments) }
        rescue SystemCallError, ArgumentError => error
          Result.new(1, "", "#{program}: #{error.message}\n")
        end

        def exist?(name)
          program = File.basename(name)
          COMPILERS.include?(program) || program.match?(/\Ag?make\z/) || respond_to?(:"run_#{program}", true)
        end

        private

        def done(output = "")
          Result.new(0, output, "")
        end

        def missing(name)
          Result.new(NOT_FOUND, "", "#{name}: command not found\n")
        end

        # Runs a program that a script has just compiled.
        def conftest(path)
          output = "/tmp/conftest.output"
          status = Native.run_program(File.expand_path(path), output)
          return Result.new(126, +"", "#{path}: #{status}\n") if status.is_a?(String)

          Result.new(status, File.binread(output), +"")
        end

        def make(arguments, directory)
          variables, targets = arguments.partition { |word| word.include?("=") }
          file = targets.include?("-f") ? targets[targets.index("-f") + 1] : "Makefile"
          targets = targets.reject { |word| word.start_with?("-") || word == file }
          variables = variables.to_h { |word| word.split("=", 2) }
          Dir.chdir(directory) { Make.new(file, variables).run(targets) }
          done
        rescue Make::Failed => error
          Result.new(2, "", "#{error.message}\n")
        end

        def plain(arguments)
          arguments.reject { |word| word.start_with?("-") }
        end

        def run_rm(arguments)
          plain(arguments).each { |path| FileUtils.rm_rf(path) }
          done
        end

        def run_cp(arguments)
          *from, to = plain(arguments)
          from.each { |path| FileUtils.cp_r(path, to) }
          done
        end

        def run_mv(arguments)
          *from, to = plain(arguments)
          from.each { |path| FileUtils.mv(path, to, force: true) }
          done
        end

        def run_ln(arguments)
          from, to = plain(arguments)
          FileUtils.ln_sf(from, to || File.basename(from))
          done
        end

        def run_mkdir(arguments)
          FileUtils.mkdir_p(plain(arguments))
          done
        end

        def run_rmdir(arguments)
          plain(arguments).each { |path| Dir.rmdir(path) if Dir.exist?(path) && Dir.empty?(path) }
          done
        end

        # install -c -m MODE FILE... TARGET
        def run_install(arguments)
          mode = arguments.index("-m")
          arguments = arguments.dup
          arguments.slice!(mode, 2) if mode
          *from, to = plain(arguments)
          FileUtils.mkdir_p(to) if from.length > 1
          from.each { |path| FileUtils.cp(path, to) }
          done
        end

        def run_touch(arguments)
          FileUtils.touch(plain(arguments))
          done
        end

        def run_chmod(_arguments)
          done
        end

        def run_echo(arguments)
          newline = arguments.first == "-n" ? "" : "\n"
          arguments = arguments.drop(1) if newline.empty?
          done("#{arguments.join(" ")}#{newline}")
        end

        def run_cat(arguments)
          done(plain(arguments).map { |path| File.read(path) }.join)
        end

        def run_true(_arguments)
          done
        end
        alias run_exit run_true

        def run_false(_arguments)
          Result.new(1, "", "")
        end

        def run_uname(arguments)
          done(arguments.include?("-m") ? "wasm32\n" : "Linux\n")
        end

        def run_pwd(_arguments)
          done("#{Dir.pwd}\n")
        end

        def run_which(arguments)
          found = plain(arguments).select { |name| exist?(name) }
          Result.new(found.empty? ? 1 : 0, found.map { |name| "/usr/bin/#{name}\n" }.join, "")
        end

        # Tells whether programs exist, as `type` and `command -v` do.
        def run_type(arguments)
          found = plain(arguments).all? { |name| exist?(name) }
          Result.new(found ? 0 : 1, found ? plain(arguments).map { |name| "#{name}\n" }.join : "", "")
        end
        alias run_command run_type

        # sh -c COMMAND
        def run_sh(arguments)
          line = arguments[arguments.index("-c").to_i + 1]
          return Result.new(1, "", "sh: a build runs no shell scripts\n") unless arguments.include?("-c") && line

          Processes::Shell.run(Processes::Shell.substitute(line), Dir.pwd)
        end

        def run_test(arguments)
          holds = case arguments
                  in ["-f", path] then File.file?(path)
                  in ["-d", path] then File.directory?(path)
                  in ["-e", path] then File.exist?(path)
                  in ["-n", text] then !text.empty?
                  in ["-z", text] then text.empty?
                  in [left, "=" | "==", right] then left == right
                  in [left, "!=", right] then left != right
                  else raise ArgumentError, "unknown condition: #{arguments.join(" ")}"
                  end
          Result.new(holds ? 0 : 1, "", "")
        end

        # Programs of Ruby itself.
        def run_ruby(arguments)
          file = arguments.find { |word| !word.start_with?("-") }
          return Result.new(1, "", "ruby: a build runs Ruby files only\n") unless file

          saved = ARGV.dup
          ARGV.replace(arguments.drop(arguments.index(file) + 1))
          load(File.expand_path(file), true)
          done
        rescue SystemExit => exit
          Result.new(exit.status, "", "")
        ensure
          ARGV.replace(saved) if saved
        end
      end
    end
  end
end
