# frozen_string_literal: true

# Implements the guest side of the dyno ABI for Ruby. The host loads this file once, when it prepares a pack, so every
# image contains the definitions.
#
# The host calls Dyno.boot once per release, Dyno.restore once in each new dyno, and then Dyno.handle once per request. For
# a command, it calls Dyno.run alone. Each method returns an Integer, 0 for success, and raises no exceptions; Dyno.run
# may return a command line instead.

# The build of 4.0 from npm starts without RubyGems.
require "rubygems" unless Gem.respond_to?(:loaded_specs)

module Dyno
  # Gems that Ruby itself has activated.
  OWN_GEMS = Gem.loaded_specs.keys.freeze

  # Streams of requests and responses: EXCHANGE_DESCRIPTOR of sdk/abi, or the standard streams in an npm build, which knows
  # no other descriptors. What an app writes to its standard streams is in the log.
  INPUT = IO.for_fd(defined?(Native) ? 1000 : 0, "rb", autoclose: false)
  OUTPUT = IO.for_fd(defined?(Native) ? 1000 : 1, "wb", autoclose: false)
  OUTPUT.sync = true
  LOG = $stderr
  STDOUT.sync = LOG.sync = true
end

if defined?(Dyno::Native)
  Dyno::INPUT.extend(Dyno::Native::Input)
  Dyno::OUTPUT.extend(Dyno::Native::Output)
end

# An app may lock another version of json, which what is loaded here would precede.
autoload :JSON, "json"
require_relative "dyno/process"
require_relative "dyno/output"
# In the npm builds, descriptor 1 carries responses. They have no threads, and their implementations of catch and throw
# leak memory; see these files.
unless defined?(Dyno::Native)
  require_relative "dyno/standard_output"
  require_relative "dyno/catch"
  require_relative "dyno/timeout"
  require_relative "dyno/thread"
end
require_relative "dyno/gemspec"
require_relative "dyno/replacements"
require_relative "dyno/no_sockets" unless defined?(Dyno::Native)
require_relative "dyno/connections"
require_relative "dyno/random"
require_relative "dyno/heap"
require_relative "dyno/bundle"
require_relative "dyno/builder"
require_relative "dyno/input"
require_relative "dyno/stream"
require_relative "dyno/hijack"
require_relative "dyno/chunks"
require_relative "dyno/response"
require_relative "dyno/server"
require_relative "dyno/gemfile"
require_relative "dyno/executables"
require_relative "dyno/interpreter"
require_relative "dyno/command"

module Dyno
  NO_GEMS = "If the file belongs to a gem: add the gem to a Gemfile, run `bundle lock`, and commit Gemfile and Gemfile.lock.\n"
  private_constant :NO_GEMS

  class << self
    # Loads the app, so that the host can save its memory as an image.
    def boot
      # The pack's seed is the same for all apps, whose hashes must not tell each other's collisions.
      Native.reseed_hashes if defined?(Native)
      Random.watch
      Self.refresh
      Dir.chdir("/app")
      Bundle.locate
      Bundle.setup
      Server.app = Builder.load(Command.rackup_file(Self.arguments))
      Random.prepare
      # The first round of samples asks for each path once, the second for repetitions.
      return 1 unless Server.warm_up

      Heap.settle
      return 1 unless Server.warm_up

      Random.settle
      Connections.close
      0
    rescue SystemExit => exit
      LOG.write("the app called exit(#{exit.status}) while it was loading\n")
      1
    rescue Exception => error # rubocop:disable Lint/RescueException -- the author of the push must see any error
      report(error)
      LOG.write(NO_GEMS) if error.is_a?(LoadError) && !Bundle.present?
      1
    end

    # Initializes a new dyno, which starts as a copy of the image.
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

    # Prepares a command. Returns its status if it has ended, or the command line of `ruby` that is to be run.
    def run
      Native.reseed_hashes if defined?(Native)
      Self.refresh
      Random.reseed
      Dir.chdir("/app")
      Command.run(Self.arguments)
    rescue SystemExit => exit
      exit.status
    rescue Exception => error # rubocop:disable Lint/RescueException
      report(error)
      1
    end

    # Writes an exception to the log; omits this library's frames from the backtrace.
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

Dyno::Bundle.forget(Dyno::OWN_GEMS)
