# frozen_string_literal: true

# Runs one file of MRI's test/ruby, and says of each test how it ended: a line in the log for its start and one for its end,
# so that whoever reads knows which test has ended the dyno. Arguments: the file, then tests to leave out.
#
# What a test wants of another process (assert_separately and the like run their code in a Ruby of their own) is not to be
# had in a dyno: such a test is left out, with that reason.

$LOAD_PATH.unshift("/app/tool/lib", "/app/test/lib")
$VERBOSE = nil
file, *left_out = ARGV
ARGV.clear
ENV["HOME"] ||= "/tmp"
TEST_LOG = Dyno::LOG
require "envutil"
require "test/unit"
# What MRI's own runner has loaded by the time a test runs.
require "delegate"
require "tempfile"
require "tmpdir"

# As the suite's, where there are no processes.
module EnvUtil
  def invoke_ruby(*, **) = raise(Test::Unit::PendedError, "needs another process")
  module_function :invoke_ruby
  def rubybin = "ruby"
  module_function :rubybin
end

# As the suite's: it measures another process.
module Test::Unit::CoreAssertions
  def assert_no_memory_leak(*, **) = raise(Test::Unit::PendedError, "needs another process")
end

# What a dyno does not have: other processes, pipes and copies of descriptors, fibers, threads that run beside each other. A
# test that runs into one of these does not apply.
ABSENT = [
  Test::Unit::PendedError, NotImplementedError, Errno::ENOTSUP, Errno::ENOSYS, FiberError, Dyno::Parked,
  ->(error) { error.is_a?(Errno::ENOENT) && error.message.include?("a dyno runs no programs") }
].freeze

# Neither are there continuations.
module Kernel
  def callcc = raise(Test::Unit::PendedError, "needs continuations")
end
$LOADED_FEATURES << "continuation.so"

# What a test asks of whoever runs it.
class Report
  attr_reader :said

  def puke(_suite, _test, error)
    @said ||= "#{error.class}: #{error.message}".scrub.gsub(/\s+/, " ")[0, 300]
    @result = ABSENT.any? { |absent| absent === error } ? "skip" : "fail" unless @result == "fail"
    @result
  end

  def options = {}
  def info_signal = nil
  def record(*) = nil
end

begin
  load(file)
rescue Exception => error # rubocop:disable Lint/RescueException
  TEST_LOG.write("test\tend\t#{File.basename(file)}\tfail\t#{error.class}: #{error.message.lines.first&.chomp}\n")
end
Test::Unit::TestCase.test_suites.each do |suite|
  suite.test_methods.sort.each do |method|
    name = "#{suite}##{method}"
    next if left_out.include?(name)

    TEST_LOG.write("test\tstart\t#{name}\n")
    report = Report.new
    result =
      begin
        suite.new(method.to_s).run(report)
      rescue Exception => error # rubocop:disable Lint/RescueException
        report.puke(suite, method, error)
      end
    result = "pass" unless %w[skip fail].include?(result)
    TEST_LOG.write("test\tend\t#{name}\t#{result}\t#{report.said}\n")
  end
end
