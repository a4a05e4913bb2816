# frozen_string_literal: true

# Replaces methods that cannot work in a dyno, and libraries that a dyno does not need.

# IO#wait_readable and related methods are part of Ruby's core.
$LOADED_FEATURES << "io/wait.rb"

module Dyno
  # Raises the error that Ruby raises for a missing program, since a dyno cannot run programs. In this build, MRI's own
  # methods report success instead, or fail while they build the error's message.
  def self.no_program(command)
    command = command.first if command.is_a?(Array)
    raise Errno::ENOENT, "#{command.to_s.split.first}: a dyno runs no programs"
  end
end

# Overrides the methods that run programs.
module Kernel
  def system(*command, exception: false, **)
    command.shift if command.first.is_a?(Hash)
    exception ? Dyno.no_program(command.first) : nil
  end

  def `(command) = Dyno::Gemspec.listing(command) || Dyno.no_program(command)

  def spawn(*command, **)
    command.shift if command.first.is_a?(Hash)
    Dyno.no_program(command.first)
  end

  module_function :system, :`, :spawn
end

# Overrides the method that runs programs.
module Process
  def self.spawn(...) = Kernel.spawn(...)
end

# Overrides the method that runs programs.
class IO
  def self.popen(*command, chdir: ".", **)
    command.shift if command.first.is_a?(Hash)
    listing = Dyno::Gemspec.listing(command.first, chdir)
    Dyno.no_program(command.first) unless listing

    output = StringIO.new(listing)
    block_given? ? yield(output) : output
  end
end

# Overrides the method for passwords' hashes, which has the same answer for all passwords if it does not know the kind of
# hash, or takes its salt for one of DES.
class String
  dyno_crypt = instance_method(:crypt)

  define_method(:crypt) do |salt|
    salt = salt.to_str
    raise ArgumentError, "salt too short (need >=2 bytes)" if salt.bytesize < 2

    hash = dyno_crypt.bind_call(self, salt) if salt.b.match?(%r{\A[a-zA-Z0-9./]{2}})
    return hash unless hash.nil? || hash.start_with?("*")

    raise Errno::EINVAL, "crypt: a dyno has no hash for the salt #{salt[0, 3].inspect}; use the gem bcrypt"
  end
end
