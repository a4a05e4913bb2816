# frozen_string_literal: true

module Dyno
  # What a streaming body (Rack 3) and a partial hijack write to.
  class Stream
    def initialize(input)
      @input = input
      @closed = false
    end

    def read(...) = @input.read(...)

    def write(*strings)
      raise IOError, "closed stream" if @closed

      strings.sum { |string| string = string.to_s; OUTPUT.syswrite(string) unless string.empty?; string.bytesize }
    end

    def <<(string)
      write(string)
      self
    end

    def flush = self
    def close(*) = @closed = true
    def close_write = @closed = true
    def close_read = nil
    def closed? = @closed
  end
end
