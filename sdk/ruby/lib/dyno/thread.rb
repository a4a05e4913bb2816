# frozen_string_literal: true

module Dyno
  # Ends the block of a thread when the block starts to wait for an action of another thread.
  class Parked < Exception; end # rubocop:disable Lint/InheritException

  # The result of Thread.new in the npm builds, which have no threads. Thread.new runs its block to completion before it
  # returns. This is sufficient for code that starts a thread for a piece of work and asks for its value.
  #
  # A block that loops in the background forever cannot run. It is stopped when it starts to wait: at an empty queue, or
  # after it has slept for a second in total.
  class FinishedThread
    # Seconds that a block may sleep in total.
    PATIENCE = 1.0

    class << self
      # Returns the threads whose blocks are running, the innermost last.
      def running = @running ||= []

      # Records that the running block sleeps, and raises Parked if it would sleep too long or forever.
      def sleeps(seconds)
        thread = running.last or return

        raise Parked unless seconds && (thread.slept += seconds) <= PATIENCE
      end
    end

    attr_accessor :name, :report_on_exception, :abort_on_exception, :priority, :slept

    def initialize(*arguments, &block)
      Kernel.raise ThreadError, "must be called with a block" unless block

      @locals = {}
      @variables = {}
      @slept = 0.0
      @priority = 0
      self.class.running.push(self)
      begin
        @value = block.call(*arguments)
      rescue Parked
        @parked = true
        LOG.write("a thread was stopped when it started to wait: this build of Ruby runs no threads in the background; the builds of 3.3 and 3.4 from source do\n")
      rescue StandardError, ScriptError => error
        @error = error
      ensure
        self.class.running.pop
      end
    end

    def value
      join
      @value
    end

    # Raises the exception of the block, if there is one.
    def join(_limit = nil)
      Kernel.raise @error if @error

      self
    end

    def [](key) = @locals[key.to_sym]
    def []=(key, value)
      @locals[key.to_sym] = value
    end
    def fetch(key, *default, &block) = @locals.fetch(key.to_sym, *default, &block)
    def key?(key) = @locals.key?(key.to_sym)
    def keys = @locals.keys
    def thread_variable_get(key) = @variables[key.to_sym]
    def thread_variable_set(key, value) = @variables[key.to_sym] = value
    def thread_variable?(key) = @variables.key?(key.to_sym)
    def alive? = false
    def stop? = true
    def status = @error ? nil : false
    def kill = self
    alias exit kill
    alias terminate kill
    def wakeup = self
    def run = self
    def raise(*error) = (Kernel.raise(*error) if FinishedThread.running.include?(self))
    def group = ThreadGroup::Default
    def backtrace = []
    def is_a?(kind) = kind == Thread || super
    alias kind_of? is_a?
  end

  # Overrides the methods that start threads.
  module Threads
    def new(...) = FinishedThread.new(...)
    def start(...) = FinishedThread.new(...)
    def fork(...) = FinishedThread.new(...)
    def ===(object) = FinishedThread === object || super
  end

  # Overrides the methods that wait for an empty queue, to which no other thread can add.
  module EmptyQueues
    def pop(non_block = false, timeout: nil)
      FinishedThread.sleeps(timeout) if empty? && !non_block && !closed?
      timeout ? super : super(non_block)
    end
    alias shift pop
    alias deq pop
  end

  Thread.singleton_class.prepend(Threads)
  Thread::Queue.prepend(EmptyQueues)
  Thread::SizedQueue.prepend(EmptyQueues)
end

# Overrides sleep for blocks that run as threads or have a deadline.
module Kernel
  alias dyno_sleep sleep
  private :dyno_sleep

  def sleep(*seconds)
    Dyno::FinishedThread.sleeps(seconds.first)
    left = Timeout.left
    return dyno_sleep(*seconds) if left.nil? || (seconds.first && seconds.first <= left)

    dyno_sleep(left)
    Timeout.expired
  end

  module_function :sleep
  module_function :dyno_sleep
end
