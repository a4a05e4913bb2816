# frozen_string_literal: true

# The guest side of the dyno ABI for Ruby. Loaded once, when the pack is prepared; what it defines is in every image.
#
# The host calls Dyno.boot once a release, Dyno.restore once in each new dyno, Dyno.handle once a request, and Dyno.run
# instead of it for other process types. Each returns an Integer, 0 for success, and raises nothing.

module Dyno
  # The request comes in here, and the response goes out there. Apps get other objects: what an app prints is log.
  INPUT = IO.for_fd(0, "rb", autoclose: false)
  OUTPUT = IO.for_fd(1, "wb", autoclose: false)
  OUTPUT.sync = true
  LOG = $stderr
  LOG.sync = true
end

if defined?(Dyno::Native)
  Dyno::INPUT.extend(Dyno::Native::Input)
  Dyno::OUTPUT.extend(Dyno::Native::Output)
end

require "json"
require_relative "dyno/process"
require_relative "dyno/output"
# The npm builds' own lose memory; see there.
require_relative "dyno/catch" unless defined?(Dyno::Native)
require_relative "dyno/timeout"
require_relative "dyno/thread"
require_relative "dyno/replacements"
require_relative "dyno/socket"
require_relative "dyno/random"
require_relative "dyno/heap"
require_relative "dyno/bundle"
require_relative "dyno/builder"
require_relative "dyno/input"
require_relative "dyno/stream"
require_relative "dyno/response"
require_relative "dyno/server"
require_relative "dyno/gemfile"
require_relative "dyno/command"

module Dyno
  NO_GEMS = "If that is a gem: name it in a Gemfile, run `bundle lock`, and commit Gemfile and Gemfile.lock.\n"
  private_constant :NO_GEMS

  class << self
    # Loads the app, so that its memory can be kept as an image.
    def boot
      Self.refresh
      Dir.chdir("/app")
      Bundle.load("/app/.corundum/bundle.json")
      Server.app = Builder.load(Command.rackup_file(Self.arguments))
      Random.prepare
      return 1 unless Server.warm_up(1)

      Heap.settle
      Server.warm_up ? 0 : 1
    rescue SystemExit => exit
      LOG.write("the app called exit(#{exit.status}) while it was loading\n")
      1
    rescue Exception => error # rubocop:disable Lint/RescueException -- whatever it is, the pusher must read it
      report(error)
      LOG.write(NO_GEMS) if error.is_a?(LoadError) && Bundle.gems.empty?
      1
    end

    # Wakes a copy of the image.
    def restore
      Self.wake
      Random.reseed
      Self.forked
      0
    rescue Exception => error # rubocop:disable Lint/RescueException
      report(error)
      1
    end

    # Serves one request.
    def handle
      Server.serve
    end

    # Runs a command to its end.
    def run
      Self.refresh
      Random.reseed
      Output.real
      Command.run(Self.arguments)
    rescue SystemExit => exit
      exit.status
    rescue Exception => error # rubocop:disable Lint/RescueException
      report(error)
      1
    end

    # Writes an exception to the log, without the frames of this library below the app's own.
    def report(error)
      trace = error.backtrace&.reject { |line| line.start_with?("/usr/lib/corundum/") }
      return LOG.write(error.detailed_message(highlight: false).chomp, "\n") if trace.nil? || trace.empty?

      error.set_backtrace(trace)
      LOG.write(error.full_message(highlight: false, order: :top).chomp, "\n")
    rescue StandardError
      LOG.write("#{error.class}\n")
    end
  end
end
