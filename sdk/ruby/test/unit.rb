# frozen_string_literal: true

# Runs one file of MRI's test/ruby, and logs a line at the start and one at the end of each test, so that the reader can
# tell which test has ended the dyno. Arguments: the file, then the tests to skip.
#
# Tests that need another process are skipped with that reason: assert_separately and similar methods run their code in a
# separate Ruby, and a dyno has no processes.

$LOAD_PATH.unshift("/app/tool/lib", "/app/test/lib")
$VERBOSE = nil
file, *skipped = ARGV
ARGV.clear
ENV["HOME"] ||= "/tmp"
TEST_LOG = Dyno::LOG
# One test of native threads calls a function of C by Fiddle, which is not linked; that file's others are run.
$LOADED_FEATURES << "fiddle.rb"
require "envutil"
require "test/unit"
# Libraries that MRI's own runner loads before the tests.
require "delegate"
require "tempfile"
require "tmpdir"

# Replaces methods of the suite that start processes.
module EnvUtil
  def invoke_ruby(*, **) = raise(Test::Unit::PendedError, "needs another process")
  module_function :invoke_ruby
  def rubybin = "ruby"
  module_function :rubybin
end

# Replaces an assertion of the suite that measures another process.
module Test::Unit::CoreAssertions
  def assert_no_memory_leak(*, **) = raise(Test::Unit::PendedError, "needs another process")
end

# Errors for features that a dyno lacks: other processes, pipes, duplicated descriptors. A
# test that raises one of these does not apply.
ABSENT = [
  Test::Unit::PendedError, NotImplementedError, Errno::ENOTSUP, Errno::ENOSYS,
  ->(error) { error.is_a?(Errno::ENOENT) && error.message.include?("a dyno runs no programs") }
].freeze

# A dyno lacks continuations, too.
module Kernel
  def callcc = raise(Test::Unit::PendedError, "needs continuations")
end
$LOADED_FEATURES << "continuation.so"

# Collects the result of a test, through the interface that tests expect of their runner.
class Report
  attr_reader :message

  def puke(_suite, _test, error)
    @message ||= "#{error.class}: #{error.message}".scrub.gsub(/\s+/, " ")[0, 300]
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
    next if skipped.include?(name)

    TEST_LOG.write("test\tstart\t#{name}\n")
    report = Report.new
    result =
      begin
        suite.new(method.to_s).run(report)
      rescue Exception => error # rubocop:disable Lint/RescueException
        report.puke(suite, method, error)
      end
    result = "pass" unless %w[skip fail].include?(result)
    TEST_LOG.write("test\tend\t#{name}\t#{result}\t#{report.message}\n")
  end
end
