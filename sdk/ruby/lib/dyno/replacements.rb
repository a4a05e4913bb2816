# frozen_string_literal: true

# What a dyno has no use for, or cannot have.

# IO#wait_readable and the like are Ruby's own by now.
$LOADED_FEATURES << "io/wait.rb"

module Dyno
  # Raises what Ruby raises on a machine that has no such program: here it has none. MRI's own say in this build that the
  # program ran well, or fall over their error's message.
  def self.no_program(command)
    command = command.first if command.is_a?(Array)
    raise Errno::ENOENT, "#{command.to_s.split.first}: a dyno runs no programs"
  end
end

# Kernel's methods that run programs.
module Kernel
  def system(*command, exception: false, **)
    command.shift if command.first.is_a?(Hash)
    exception ? Dyno.no_program(command.first) : nil
  end

  def `(command) = Dyno.no_program(command)

  def spawn(*command, **)
    command.shift if command.first.is_a?(Hash)
    Dyno.no_program(command.first)
  end

  module_function :system, :`, :spawn
end

# As Kernel's.
module Process
  def self.spawn(...) = Kernel.spawn(...)
end

# As Kernel's.
class IO
  def self.popen(*command, **)
    command.shift if command.first.is_a?(Hash)
    Dyno.no_program(command.first)
  end
end
