# frozen_string_literal: true

module Dyno
  # Compiles an app's assets in a dyno of the build: runs its Rake task, and prints the files that it makes.
  #
  # The host loads this file only for a build.
  module Assets
    TASK = "assets:precompile"
    RAKEFILES = %w[Rakefile rakefile Rakefile.rb rakefile.rb].freeze
    # Folders that are not searched for made files, since a slug has no use for them or has them already.
    SKIPPED = %w[log node_modules tmp vendor/bundle].freeze

    class << self
      # Runs the task if the app has it, and prints the made files: a line of JSON with paths and sizes, then their bytes.
      def compile
        return print_files([]) if RAKEFILES.none? { |name| File.file?(name) }

        Bundle.setup
        return print_files([]) unless rake?

        before = files
        return 1 unless run

        print_files(files.reject { |path, state| before[path] == state }.keys)
      end

      private

      def rake?
        require "rake"
        true
      rescue LoadError
        # Without the gem in the bundle, the app's Rakefile is for its developers.
        false
      end

      # Runs the task as `rake` does, and returns whether it ended well.
      def run
        rake = Rake.application
        rake.init("rake", [TASK])
        rake.load_rakefile
        return true unless rake.lookup(TASK)

        LOG.write("Running: rake #{TASK}\n")
        rake.top_level
        true
      rescue SystemExit => exit
        exit.success?
      rescue Exception => error # rubocop:disable Lint/RescueException -- the author of the push must see any error
        Dyno.report(error)
        false
      end

      # Returns the app's files and what a change of them changes.
      def files
        found = {}
        open = Dir.children(".")
        until open.empty?
          path = open.pop
          next if SKIPPED.include?(path)

          state = File.lstat(path)
          if state.directory? then open.concat(Dir.children(path).map { |name| "#{path}/#{name}" })
          elsif state.file? then found[path] = [state.size, state.mtime, state.ino]
          end
        end
        found
      end

      def print_files(paths)
        paths.sort!
        OUTPUT.write("#{JSON.generate(paths.map { |path| [path, File.size(path)] })}\n")
        paths.each { |path| OUTPUT.write(File.binread(path)) }
        0
      end
    end
  end
end
