# Prints the times of small Ruby programs, one per line: "name<tab>microseconds". It runs in native MRI and in a dyno.
require "json"
require "monitor"
require "erb"

def fib(n) = n < 2 ? n : fib(n - 1) + fib(n - 2)
def deep(n, &block) = n == 0 ? block.call : deep(n - 1, &block)
def through_c(n, &block) = n == 0 ? block.call : [1].map { through_c(n - 1, &block) }

def ensured
  yield
ensure
  1
end

# An emulated processor with a few instructions: integer arithmetic, array access and a case expression.
class Machine
  def initialize
    @memory = Array.new(256) { |i| (i * 7) & 255 }
    @a = @x = 0
  end

  def run(steps)
    pc = 0
    steps.times do
      case @memory[pc] & 7
      when 0 then @a = (@a + @memory[@x]) & 255
      when 1 then @x = (@x + 1) & 255
      when 2 then @memory[@x] = @a
      when 3 then @a ^= @memory[pc]
      when 4 then @a = (@a << 1) & 255
      when 5 then pc = (pc + 3) & 255 if @a.odd?
      when 6 then @a = (@a - @x) & 255
      else @x = @a
      end
      pc = (pc + 1) & 255
    end
    @a
  end
end

def mandelbrot(size)
  inside = 0
  size.times do |row|
    ci = 2.0 * row / size - 1.0
    size.times do |column|
      cr = 2.0 * column / size - 1.5
      zr = zi = 0.0
      i = 0
      while i < 50 && zr * zr + zi * zi < 4.0
        zr, zi = zr * zr - zi * zi + cr, 2.0 * zr * zi + ci
        i += 1
      end
      inside += 1 if i == 50
    end
  end
  inside
end

HASH = (1..10).to_h { |i| ["key#{i}", i] }
MONITOR = Monitor.new
MUTEX = Mutex.new
TEMPLATE = ERB.new("<% 20.times do |i| %><li><%= i %></li><% end %>")
TEXT = JSON.generate(HASH)
TEN = [1] * 10

def time(name, count)
  best = 3.times.map do
    start = Process.clock_gettime(Process::CLOCK_MONOTONIC)
    yield count
    Process.clock_gettime(Process::CLOCK_MONOTONIC) - start
  end.min
  (defined?(Dyno) ? Dyno::OUTPUT : $stdout).write("#{name}\t#{best / count * 1e6}\n")
end

time("fib(20)", 20) { |n| n.times { fib(20) } }
time("while 100k", 10) { |n| n.times { i = 0; i += 1 while i < 100_000 } }
time("Hash#each", 3000) { |n| n.times { HASH.each { |_k, v| v } } }
time("Hash#each, 50 deep", 1000) { |n| through_c(50) { n.times { HASH.each { |_k, v| v } } } }
time("Hash#map", 3000) { |n| n.times { HASH.map { |_k, v| v } } }
time("Array#each", 3000) { |n| n.times { TEN.each { |v| v } } }
time("ensure", 10_000) { |n| n.times { ensured { 1 } } }
time("Mutex#synchronize", 3000) { |n| n.times { MUTEX.synchronize { 1 } } }
time("Monitor#synchronize", 3000) { |n| n.times { MONITOR.synchronize { 1 } } }
time("catch", 2000) { |n| n.times { catch(:a) { 1 } } }
time("ERB#result", 300) { |n| n.times { TEMPLATE.result } }
time("JSON.generate", 2000) { |n| n.times { JSON.generate(HASH) } }
time("JSON.parse", 2000) { |n| n.times { JSON.parse(TEXT) } }
time("gsub", 2000) { |n| n.times { "hello world foo bar".gsub(/o+/) { |m| m.upcase } } }
time("String#<<", 3000) { |n| n.times { s = +""; 50.times { s << "abc" } } }
time("=~", 5000) { |n| n.times { "/users/123/posts/456" =~ %r{/users/(\d+)/posts/(\d+)} } }
time("throwing: catch/throw", 2000) { |n| n.times { catch(:a) { throw :a, 1 } } }
time("throwing: catch/throw, 50 deep", 500) { |n| through_c(50) { n.times { catch(:a) { throw :a, 1 } } } }
time("throwing: raise/rescue", 2000) { |n| n.times { begin; raise "x"; rescue; end } }
time("throwing: raise/rescue, 30 up", 500) { |n| n.times { begin; deep(30) { raise "x" }; rescue; end } }
time("throwing: break", 2000) { |n| n.times { [1, 2].each { break } } }
time("processor: emulator", 1) { |n| n.times { Machine.new.run(200_000) } }
time("processor: mandelbrot", 1) { |n| n.times { mandelbrot(80) } }
