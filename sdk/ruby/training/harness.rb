# frozen_string_literal: true

# Runs a training program in a build that records a profile, without the program's output, and writes the counters.

require "stringio"

$stdout = StringIO.new
load ARGV.shift
$stdout = STDOUT
Dyno::OUTPUT.syswrite(Dyno::Native.profile)
