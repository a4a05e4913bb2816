# frozen_string_literal: true

module Dyno
  # The stream of a streaming body (Rack 3) and of a partial hijack.
  class Stream
    # `chunks` removes the frames that the app puts around what it writes, nil for none.
    def initialize(input, chunks = nil)
      @input = input
      @chunks = chunks
      @closed = false
    end

    def read(...) = reading.read(...)
    def readpartial(...) = reading.readpartial(...)
    def read_nonblock(length, buffer = nil, exception: true)
      readpartial(length, buffer)
    rescue EOFError
      raise if exception
    end

    def write(*strings)
      raise IOError, "closed stream" if @closed

      strings.sum do |string|
        string = string.to_s
        plain = @chunks ? @chunks.take(string) : string
        OUTPUT.syswrite(plain) unless plain.empty?
        string.bytesize
      end
    end

    def write_nonblock(string, **) = write(string)

    def <<(string)
      write(string)
      self
    end

    # Does nothing: the host sends written bytes whenever the app waits or has used its time slice.
    def flush = self

    def close(*)
      close_read
      close_write
    end

    def close_read
      @input = nil
    end

    def close_write
      @closed = true
      nil
    end

    def closed? = @closed && @input.nil?

    private

    def reading = @input || raise(IOError, "not opened for reading")
  end
end
