# frozen_string_literal: true

module Dyno
  module Extension
    # Compilers and their like, which the node runs. A request names a command, its directory and the files that the dyno has
    # made or changed; the answer has its status, its output and the files that it has made.
    module Tools
      # Files of this size are no sources.
      MAX_FILE = 32 << 20

      # Result of a command.
      Result = Struct.new(:status, :output, :errors)

      @sent = {}
      @folders = ["/tmp"]

      class << self
        # Folders whose changed files a command may read, beside its own.
        attr_reader :folders

        # Runs a command, an Array of words.
        def call(command, directory = Dir.pwd)
          files = changed_files(directory)
          head = { command: command, directory: directory, files: files.map { |path, bytes| [path, bytes.bytesize] } }
          answer = Native.tool([JSON.generate(head), "\n", *files.map(&:last)].map(&:b).join)
          raise Failed, "this dyno has no compilers" unless answer

          read(answer)
        end

        private

        # Returns the files that have changed since they were sent.
        def changed_files(directory)
          paths = [directory, *folders].uniq.flat_map { |folder| Dir.glob("**/*", base: folder).map { |path| File.join(folder, path) } }
          paths.uniq.filter_map { |path| changed(path) }
        end

        def changed(path)
          status = File.stat(path)
          return unless status.file? && status.mtime >= START && status.size <= MAX_FILE

          stamp = [status.mtime, status.size]
          return if @sent[path] == stamp

          @sent[path] = stamp
          [path, File.binread(path)]
        rescue SystemCallError
          nil
        end

        def read(answer)
          line, rest = answer.split("\n", 2)
          head = JSON.parse(line)
          at = 0
          take = ->(size) { rest.byteslice(at, size).tap { at += size } }
          output = take.call(head["output"]).force_encoding(Encoding::UTF_8)
          errors = take.call(head["errors"]).force_encoding(Encoding::UTF_8)
          head["files"].each { |path, size| write(path, take.call(size)) }
          Result.new(head["status"], output, errors)
        end

        # Writes a file of an answer; the node has it already.
        def write(path, bytes)
          FileUtils.mkdir_p(File.dirname(path))
          File.binwrite(path, bytes)
          File.chmod(0o755, path) if bytes.start_with?("\0asm")
          status = File.stat(path)
          @sent[path] = [status.mtime, status.size]
        end
      end

      # Files that are older are those of the gem, which the node has.
      START = Time.now - 1
      private_constant :START
    end
  end
end
