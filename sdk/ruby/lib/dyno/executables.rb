# frozen_string_literal: true

module Dyno
  # Finds the programs that a shell would find on PATH: binstubs of the app, executables of its gems, and those of Ruby.
  module Executables
    NAME = /\A[A-Za-z0-9_][A-Za-z0-9_.+-]*\z/
    # Scripts in `bin` of a gem's repository that are no executables of the gem.
    NOT_INSTALLED = %w[console setup test].freeze

    class << self
      # Returns the arguments of `ruby` that run a program, nil if there is no such program.
      def find(name)
        return unless name.match?(NAME)

        script = of_app(name)
        return ["--", script] if script

        executable = of_bundle(name) || of_ruby(name)
        # A gem's executable loads the gem's own files.
        executable && ["-I#{File.expand_path("../lib", File.dirname(executable))}", "--", executable]
      end

      # Tells whether a file is a Ruby script by its name or by its first line.
      def ruby?(path)
        return true if path.end_with?(".rb")

        line = File.open(path, "rb") { |file| file.gets("\n", 255) }.to_s
        line.match?(%r{\A#!.*\bruby})
      end

      private

      def of_app(name)
        paths = ["/app/bin/#{name}"]
        paths.unshift("/app/#{name}") if name.end_with?(".rb")
        paths.find { |path| File.file?(path) && ruby?(path) }
      end

      def of_bundle(name)
        below = "/app/vendor/bundle/ruby/*/gems/*"
        found = Dir.glob("#{below}/exe/#{name}")
        found = Dir.glob("#{below}/bin/#{name}") if found.empty? && !NOT_INSTALLED.include?(name)
        found.find { |path| ruby?(path) }
      end

      def of_ruby(name) = Dir.glob("#{Gem.default_dir}/gems/*/exe/#{name}").max
    end
  end
end
