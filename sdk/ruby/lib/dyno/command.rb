# frozen_string_literal: true

module Dyno
  # Finds the program of a command line: of a Procfile, or of `corundum run`. A dyno has no shell and no other programs
  # than Ruby's, so this module does what a shell would do with a simple command.
  module Command
    # Status of a shell for a command that does not exist.
    NOT_FOUND = 127
    # Status of a shell for a command that it cannot run.
    NOT_RUNNABLE = 126

    # Programs that start the app's server, which a dyno is already.
    SERVERS = %w[rackup puma thin unicorn falcon passenger].freeze
    SHELLS = %w[sh bash dash zsh ash ksh].freeze
    ASSIGNMENT = /\A([A-Za-z_][A-Za-z0-9_]*)=(.*)\z/m
    # Characters with a meaning to a shell that no quotes take from them.
    SYNTAX = /[|&;<>()$`*?\[\]{}~#!\n]/

    # A command line that cannot be carried out, with the status that a shell reports for it.
    class Refused < StandardError
      attr_reader :status

      def initialize(message, status)
        @status = status
        super(message)
      end
    end

    class << self
      # Returns the rackup file in the arguments of a web command [default: config.ru].
      def rackup_file(arguments)
        named = arguments.find { |argument| argument.end_with?(".ru") }
        File.expand_path(named || "config.ru", "/app")
      end

      # Carries out a command of the platform and returns its status, or returns the arguments of `ruby` for another one.
      def run(arguments)
        return gemfile if arguments == ["corundum-gemfile"]
        return gemspecs if arguments == ["corundum-gemspecs"]
        return extension(*arguments.drop(1)) if arguments.first == "corundum-extension"
        return assets if arguments == ["corundum-assets"]

        Bundle.locate
        # Programs expand `~`, and some keep a history there.
        ENV["HOME"] ||= "/app"
        Output.real
        Interpreter.arguments(resolve(words(arguments)))
      rescue Refused => refused
        LOG.write("#{refused.message}\n")
        refused.status
      end

      private

      def gemfile
        OUTPUT.write(JSON.generate(Gemfile.evaluate("/app/Gemfile")))
        0
      end

      def gemspecs
        OUTPUT.write(JSON.generate(Gemfile.specifications("/app/.corundum/metadata")))
        0
      end

      # Builds a gem's native extension.
      def extension(directory, script, *options)
        require_relative "extension"
        home = directory[%r{\A.*(?=/(?:bundler/)?gems/)}]
        Gem.paths = { "GEM_HOME" => home, "GEM_PATH" => home }
        Extension.build(directory, script, options)
      end

      # Compiles the app's assets.
      def assets
        require_relative "assets"
        Bundle.locate
        Dir.chdir("/app")
        Assets.compile
      end

      # Splits a command line that came as one word, like `corundum run "rake -T"`, and replaces a process type by its
      # command. Several words are taken as they are.
      def words(arguments)
        return arguments unless arguments.one?

        line = process_types[arguments.first] || arguments.first
        line.match?(/\s/) ? split(line) : [line]
      end

      # Splits a line into words as a shell does.
      def split(line)
        require "shellwords"
        plain = line.gsub(/\\.|'[^']*'|"(?:[^"\\]|\\.)*"/m) { |quoted| quoted.start_with?('"') ? quoted[/[$`]/].to_s : "" }
        if (syntax = plain[SYNTAX])
          raise Refused.new("#{syntax} is not available: a dyno has no shell. Put the command into a Ruby script or a Rake task.", 2)
        end

        Shellwords.split(line)
      rescue ArgumentError => error
        raise Refused.new(error.message, 2)
      end

      def process_types
        return {} unless File.file?("/app/Procfile")

        File.read("/app/Procfile").scan(/^([A-Za-z0-9_-]+):[ \t]*(.+?)[ \t]*$/).to_h
      end

      # Returns the arguments of `ruby` that stand for a simple command.
      def resolve(words)
        words = assign(words)
        name, *rest = words
        case name
        when nil then raise Refused.new("no command: name one, e.g. `corundum run rake`", 2)
        when "bundle" then bundle(rest)
        when "ruby" then rest
        when "gem" then ["-rrubygems/gem_runner", "-e", "$0 = 'gem'; Gem::GemRunner.new.run(ARGV.dup)", "--", *rest]
        when *SHELLS
          raise Refused.new("#{name}: command not found: a dyno has no shell and starts no processes", NOT_FOUND)
        when *SERVERS
          raise Refused.new("#{name}: the app's web dynos serve requests already, and nobody would reach this one", 1)
        else program(name, rest)
        end
      end

      # Sets the variables in front of a command, and returns the rest.
      def assign(words)
        words = words.drop(1) if words.first == "env" && words.length > 1
        assignments = words.take_while { |word| word.match?(ASSIGNMENT) }
        assignments.each { |word| ENV.store(*word.match(ASSIGNMENT).captures) }
        words.drop(assignments.length)
      end

      def bundle(words)
        return program("bundle", words) unless words.first == "exec" && words.length > 1

        Bundle.setup
        resolve(words.drop(1))
      end

      # Returns the arguments for a script of the app or an executable of a gem.
      def program(name, rest)
        arguments = name.include?("/") ? script(name) : Executables.find(name)
        raise Refused.new("#{name}: command not found. #{AVAILABLE}", NOT_FOUND) unless arguments

        arguments + rest
      end

      AVAILABLE = "A dyno runs ruby, scripts of the app, executables of its gems (rake, rails, rspec), irb, gem and bundle."
      private_constant :AVAILABLE

      def script(name)
        return unless File.file?(name)
        # `--` ends the options of ruby, so that a script's name may begin with a dash.
        return ["--", name] if Executables.ruby?(name)

        raise Refused.new("#{name}: cannot run it: a dyno runs Ruby scripts only, and this file's first line names no Ruby", NOT_RUNNABLE)
      end
    end
  end
end
