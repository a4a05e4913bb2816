# frozen_string_literal: true

module Dyno
  # Answers `git ls-files`, by which gemspecs list their gem's files, since a dyno runs no programs.
  module Gemspec
    LISTING = /\A\s*git\s+(?:-C\s+\S+\s+)?ls-files\b/

    @evaluating = false

    class << self
      # Evaluates a gemspec in the block.
      def evaluate
        outer = @evaluating
        @evaluating = true
        yield
      ensure
        @evaluating = outer
      end

      # Returns the output of the command, or nil if it is another one or no gemspec runs it.
      def listing(command, directory = ".")
        command = Array(command).flatten.grep(String).join(" ")
        return unless @evaluating && LISTING.match?(command)

        separator = command.match?(/ -z\b/) ? "\0" : "\n"
        files = Dir.glob("**/*", File::FNM_DOTMATCH, base: directory).select { |file| File.file?(File.join(directory, file)) }
        files.sort.map { |file| "#{file}#{separator}" }.join
      end
    end
  end
end
