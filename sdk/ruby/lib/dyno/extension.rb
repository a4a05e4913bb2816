# frozen_string_literal: true

# Builds a gem's native extensions in a dyno: runs `extconf.rb` with mkmf, then carries out the Makefile. Compilers run outside
# of the dyno, in a jail of the node (Extension::Tools); everything else happens here.
#
# The host loads this file only for a build.

require "fileutils"
require "json"
require "rbconfig"
require "shellwords"
require_relative "extension/tools"
require_relative "extension/programs"
require_relative "extension/processes"
require_relative "extension/make"

module Dyno
  module Extension
    # Folder in which scripts find the programs that they may start.
    PROGRAMS = "/tmp/corundum-programs"
    # Folder of the installed files of a build.
    RESULT = "/tmp/corundum-extension"

    # Lines of a log that the author of a failed build sees.
    SHOWN = 60

    # A build that failed, with what its author must see.
    class Failed < StandardError
    end

    class << self
      # Builds the extension of a gem whose files are in `directory`, and prints the installed files: a line of JSON with paths
      # and sizes, then their bytes. `script` is the path of its extconf.rb in the gem, `options` are arguments of the script.
      def build(directory, script, options)
        Processes.install
        name_programs
        # The mkmf of Ruby 3.4 takes an empty setting for a program of the name `false`.
        [RbConfig::CONFIG, RbConfig::MAKEFILE_CONFIG].each { |config| config["POSTLINK"] = ":" }
        Tools.folders << directory
        FileUtils.mkdir_p(RESULT)
        Dir.chdir(File.join(directory, File.dirname(script)))
        case File.basename(script)
        when /\A(?:extconf|mkmf).*\.rb\z/i, /\.rb\z/ then configure(File.basename(script), options)
        when "Rakefile", "mkrf_conf.rb", "CMakeLists.txt", "Cargo.toml", "configure"
          raise Failed, "#{script}: only extensions with an extconf.rb can be built"
        else raise Failed, "#{script}: this kind of extension cannot be built"
        end
        makefile
        print_result
        0
      rescue Failed => error
        LOG.write("#{error.message}\n")
        1
      end

      private

      # Makes a file for each program, because scripts look for these before they start them.
      def name_programs
        FileUtils.mkdir_p(PROGRAMS)
        [*Programs::COMPILERS, "make"].each do |name|
          path = File.join(PROGRAMS, name)
          File.write(path, "")
          File.chmod(0o755, path)
        end
        ENV["PATH"] = "#{PROGRAMS}:#{ENV.fetch("PATH", "")}"
      end

      # Runs the script as `ruby extconf.rb` does.
      def configure(script, options)
        ARGV.replace(options)
        $0 = script
        reason = failure { load(File.expand_path(script), false) }
        return unless reason

        show("mkmf.log")
        raise Failed, "#{script} #{reason}"
      end

      # Returns the reason why a block does not end well.
      def failure
        yield
        nil
      rescue SystemExit => exit
        "exited with status #{exit.status}" unless exit.success?
      rescue ScriptError, StandardError => error
        "failed: #{error.message} (#{error.class})\n#{Array(error.backtrace).first(8).join("\n")}"
      end

      # Shows the last lines of a log.
      def show(path)
        return unless File.file?(path)

        lines = File.readlines(path).last(SHOWN)
        LOG.write("-- the end of #{path}:\n", *lines)
      end

      def makefile
        raise Failed, "the script made no Makefile" unless File.file?("Makefile")

        variables = { "sitearchdir" => RESULT, "sitelibdir" => RESULT, "DESTDIR" => "", "V" => "0" }
        Make.new("Makefile", variables).run(%w[all install])
      rescue Make::Failed => error
        raise Failed, error.message
      end

      def print_result
        files = Dir.glob("**/*", File::FNM_DOTMATCH, base: RESULT).select { |path| File.file?(File.join(RESULT, path)) }
        files.reject! { |path| File.basename(path).start_with?(".") }
        contents = files.map { |path| File.binread(File.join(RESULT, path)) }
        OUTPUT.write("#{JSON.generate(files.zip(contents.map(&:bytesize)))}\n", *contents)
      end
    end
  end
end
