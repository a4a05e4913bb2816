# frozen_string_literal: true

# Runs the assertions of one file of MRI's bootstraptest. Each is a program of its own, so it gets a dyno of its own.
# Arguments: the file, and the number of an assertion; without it, how many there are is printed. A third argument turns
# GC.stress on.

require "stringio"

$VERBOSE = nil
file, wanted, stress = ARGV
ARGV.clear
TEST_LOG = Dyno::LOG
CASES = []

# As the suite's: what an assertion checks of what its program prints.
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

# What the files ask at their top.
module BT
  def self.ruby = "ruby"
end

# Raised by assertions that do not apply.
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
said = nil
begin
  Object.define_method(:skip) { |message = ""| raise BT_Skip, message.to_s }
  GC.stress = true if stress
  value = eval(test.source, TOPLEVEL_BINDING, name)
  print(value)
rescue BT_Skip => error
  said = error.message
rescue SystemExit # rubocop:disable Lint/SuppressedException -- as good an end as any
rescue Exception => error # rubocop:disable Lint/RescueException
  said = "#{error.class}: #{error.message}".scrub.gsub(/\s+/, " ")[0, 300]
ensure
  GC.stress = false
end
printed = $stdout.string
$stdout = real
# What a dyno does not have.
absent = [BT_Skip, NotImplementedError, Errno::ENOTSUP, Errno::ENOSYS, FiberError, Dyno::Parked]
absent = absent.include?(error.class) || said&.include?("a dyno runs no programs") || said&.include?("has no fibers")
result = absent ? "skip" : "fail"
result = "pass" if result == "fail" && test.check.call(printed)
said ||= "it printed #{printed[0, 100].inspect}" if result == "fail"
TEST_LOG.write("test\tend\t#{name}\t#{result}\t#{said}\n")
