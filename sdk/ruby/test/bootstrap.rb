# frozen_string_literal: true

# Runs an assertion of one file of MRI's bootstraptest. Each assertion is a program of its own, so it runs in a dyno of its
# own. Arguments: the file, and the number of the assertion; without a number, the script prints how many assertions there
# are. A third argument turns on GC.stress.

require "stringio"

$VERBOSE = nil
file, wanted, stress = ARGV
ARGV.clear
TEST_LOG = Dyno::LOG
CASES = []

# Replaces the suite's assertions, which check the output of a program.
module Assertions
  Case = Struct.new(:line, :source, :check)

  def add(source, &check)
    CASES << Case.new(caller_locations(2, 1).first.lineno, source, check)
  end

  def assert_equal(expected, source, *, **) = add(source) { |printed| printed == expected }
  def assert_match(pattern, source, *) = add(source) { |printed| pattern.match?(printed) }
  def assert_not_match(pattern, source, *) = add(source) { |printed| !pattern.match?(printed) }
  def assert_normal_exit(source, *, **) = add(source) { true }
  def assert_finish(_seconds, source, *) = add(source) { true }
  def assert_valid_syntax(source, *) = add("-> {\n#{source}\n}; nil") { true }
  def show_limit(*) = nil
  def flunk(*) = nil
  def rjit_enabled? = false
  def target_platform = RUBY_PLATFORM
end

# Defines the method that the files call at their start.
module BT
  def self.ruby = "ruby"
end

# Raised by assertions that do not apply to this platform.
class BT_Skip < Exception; end # rubocop:disable Lint/InheritException, Naming/ClassAndModuleCamelCase

include Assertions # rubocop:disable Style/MixinUsage
load(file)

unless wanted
  Dyno::OUTPUT.write(CASES.length.to_s)
  return
end

test = CASES.fetch(wanted.to_i)
name = "#{File.basename(file)}:#{test.line}"
TEST_LOG.write("test\tstart\t#{name}\n")
Dir.chdir("/tmp")
real = $stdout
$stdout = StringIO.new
message = nil
begin
  Object.define_method(:skip) { |message = ""| raise BT_Skip, message.to_s }
  GC.stress = true if stress
  value = eval(test.source, TOPLEVEL_BINDING, name)
  print(value)
rescue BT_Skip => error
  message = error.message
rescue SystemExit # rubocop:disable Lint/SuppressedException -- exiting is a valid end of a program
rescue Exception => error # rubocop:disable Lint/RescueException
  message = "#{error.class}: #{error.message}".scrub.gsub(/\s+/, " ")[0, 300]
ensure
  GC.stress = false
end
printed = $stdout.string
$stdout = real
# Errors for features that a dyno lacks.
absent = [BT_Skip, NotImplementedError, Errno::ENOTSUP, Errno::ENOSYS]
absent = absent.include?(error.class) || message&.include?("a dyno runs no programs")
result = absent ? "skip" : "fail"
result = "pass" if result == "fail" && test.check.call(printed)
message ||= "it printed #{printed[0, 100].inspect}" if result == "fail"
TEST_LOG.write("test\tend\t#{name}\t#{result}\t#{message}\n")
