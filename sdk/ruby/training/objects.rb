# frozen_string_literal: true

# Work with objects: classes, modules, blocks, collections, exceptions, fibers, threads and the garbage collector.

require "delegate"
require "monitor"
require "ostruct"
require "set"
require "singleton"
require "timeout"

module Area
  def <=>(other) = area <=> other.area
  def larger?(limit) = area > limit
end

class Rectangle
  include Area
  include Comparable

  attr_reader :width, :height

  def initialize(width, height)
    @width = width
    @height = height
  end

  def area = width * height
  def hash = [width, height].hash
  def eql?(other) = other.is_a?(Rectangle) && width == other.width && height == other.height
  def inspect = "#<#{self.class.name} #{width}×#{height}>"
end

class Square < Rectangle
  def initialize(side) = super(side, side)
end

class Circle
  include Area
  include Comparable

  attr_accessor :radius

  def initialize(radius:, label: "circle")
    @radius = radius
    @label = label
  end

  def area = 3.14159 * radius**2
  def to_s = "#{@label} of #{radius}"
end

module Shouting
  def to_s = super.upcase
end
Circle.prepend(Shouting)

class Events
  def initialize = @listeners = Hash.new { |listeners, name| listeners[name] = [] }

  def on(name, &block)
    @listeners[name] << block
    self
  end

  def emit(name, *arguments, **options) = @listeners[name].each { |listener| listener.call(*arguments, **options) }
end

class Settings
  include Singleton

  def respond_to_missing?(name, _private = false) = name.end_with?("=") || values.key?(name)

  def method_missing(name, *arguments)
    return values[name[0..-2].to_sym] = arguments.first if name.end_with?("=")

    values.fetch(name) { super }
  end

  private

  def values = @values ||= {}
end

class Node
  include Enumerable

  attr_accessor :value, :left, :right

  def initialize(value) = @value = value

  def add(value)
    side = value < self.value ? :left : :right
    child = public_send(side)
    child ? child.add(value) : public_send(:"#{side}=", Node.new(value))
  end

  def each(&block)
    return enum_for(:each) unless block

    left&.each(&block)
    yield value
    right&.each(&block)
  end
end

def collections(i)
  list = (1..60).to_a.shuffle(random: Random.new(i))
  list.each_slice(7).map(&:sum).each_with_index.to_h { |sum, index| [index, sum] }.select { |_, sum| sum.even? }
  list.sort { |one, other| other <=> one }.bsearch { |number| number <= 30 }
  list.zip(list.rotate).flat_map { |one, other| [one, other] }.tally.max_by(&:last)
  list.lazy.map { _1 * 2 }.select(&:even?).reject { |number| number > 90 }.first(5)
  list.inject { |most, number| number > most ? number : most }
  list.each_with_object([]) { |number, found| found.unshift(number) if (number % 3).zero? }
  list.combination(2).first(40).count { |one, other| one + other > 60 }
  list.partition(&:odd?).map(&:minmax)
  (list & [1, 2, 3] | [99]) - [2]
  list.chunk_while { |one, other| other > one }.map(&:size)
  list.dup.push(1).tap { |copy| copy.shift; copy.delete_if { |number| number > 30 }; copy.insert(2, nil); copy.compact!; copy.fill(0, 1, 2) }
  first, *middle, last = list
  [first, middle.sum, last, list.find_index(3), list.include?(61), list.values_at(0, 2, -1), list.first(3), list.take_while { |n| n != 5 }]
  list.each_with_index.min_by { |number, _| -number }
  list.cycle.first(70).uniq.size

  hash = {}
  200.times { |number| hash["key#{number}"] = number; hash[number] = number.to_s; hash[:"symbol#{number % 10}"] = nil }
  hash.delete("key3")
  hash.map { |key, value| [value, key] }.to_h
  hash.each_pair.count { |key, value| key == value }
  hash.sum { |_, value| value.to_i }
  hash.merge({ 1 => "one" }) { |_, one, other| one + other }
  hash.reject { |key, _| key.is_a?(String) }.keys.size
  hash.sort_by { |key, _| key.to_s }.first
  hash.min_by { |_, value| value.to_s }
  hash.group_by { |_, value| value.class }.transform_values(&:size)
  hash.any? { |_, value| value == 400 } || hash.key?(10) || hash.dig("key5") || hash.compact.size
  hash.each_with_index.first(3)
  hash.find { |key, _| key == 77 }
  hash.filter_map { |key, value| key if value.is_a?(Integer) && value > 150 }
  Set.new(list).subset?(Set.new(0..70))
end

def control(i)
  catch(:done) { [1, 2, 3].each { |one| [4, 5].each { |other| throw :done, one * other if one + other > 6 } } }
  [3, 4].each { |number| break number if number > 3 }
  (1..5).each { |number| next if number.odd? }
  count = 0
  count += 1 until count > 10
  begin
    count -= 1
  end while count.positive?
  loop { break }
  1.step(10, 3) { |number| count += number }
  10.downto(1) { |number| count -= number }
  case i
  when Integer, Float then :number
  when /x/ then :text
  end
  case [i % 3, i.to_s]
  in [0, String => text] if text.size > 1 then text
  in [Integer => rest, _] unless rest.zero? then rest
  else nil
  end
  begin
    case i % 4
    when 0 then Integer("z#{i}")
    when 1 then nil.missing
    when 2 then raise KeyError.new("key", receiver: {}, key: 1)
    else [].fetch(9)
    end
  rescue ArgumentError, NoMethodError => error
    error.message.size
  rescue IndexError => error
    error.backtrace.size
  else
    1
  ensure
    count += 1
  end
  factorial = ->(number, product = 1) { number <= 1 ? product : factorial.(number - 1, product * number) }
  factorial.(20)
  (method(:Integer) >> ->(number) { number + 1 }).call("4")
  adder = proc { |one, other = 2, *rest, key: 1| one + other + rest.sum + key }
  [adder.call(1), adder.call(1, 3, 4, key: 5), adder.curry, adder.arity, adder.parameters.size]
  defined?(@missing) || defined?(String) && __method__
end

def dynamic(i)
  made = Class.new do
    attr_accessor :first, :second

    define_method(:sum) { first + second }
    def self.build(**values) = new.tap { |object| values.each { |name, value| object.public_send(:"#{name}=", value) } }
  end
  object = made.build(first: 1, second: i)
  object.sum
  object.respond_to?(:third)
  object.instance_eval { @first }
  made.instance_method(:sum).bind_call(object)
  made.class_eval("def number#{i % 5} = #{i}", __FILE__, __LINE__)
  object.singleton_class.define_method(:own) { 1 }
  object.own
  object.dup.freeze.frozen?
  object.instance_variables.to_h { |name| [name, object.instance_variable_get(name)] }
  Settings.instance.limit = i
  Settings.instance.limit
  OpenStruct.new(one: 1, other: i).one
  SimpleDelegator.new([1, 2]).size
  Struct.new(:one, :other).new(1, 2).to_a.sum
  Data.define(:one).new(one: i).with(one: 2).to_h
  ObjectSpace::WeakMap.new[object] = i
end

def concurrent(i)
  numbers = Enumerator.new { |out| 20.times { |number| out << number * i } }
  5.times { numbers.next }
  fiber = Fiber.new { |value| 10.times { value = Fiber.yield(value + 1) } }
  8.times { |number| fiber.resume(number) }
  queue = Thread::SizedQueue.new(4)
  results = Thread::Queue.new
  mutex = Mutex.new
  workers = Array.new(2) do
    Thread.new do
      while (number = queue.pop) do mutex.synchronize { results << number * 2 } end
    end
  end
  20.times { |number| queue << number }
  2.times { queue << nil }
  workers.each(&:join)
  monitor = Monitor.new
  20.times { monitor.synchronize { monitor.synchronize { results.size } } }
  Timeout.timeout(10) { results.pop }
  Thread.current[:number] = i
end

60.times do |i|
  shapes = (1..30).map do |size|
    case size % 3
    when 0 then Rectangle.new(size, i)
    when 1 then Square.new(size)
    else Circle.new(radius: size, label: "round")
    end
  end
  shapes.sort.map(&:to_s)
  shapes.uniq.group_by(&:class).transform_values { |group| group.sum(&:area) }
  shapes.count { |shape| shape.larger?(100) && Rectangle === shape }
  shapes.each_cons(2).count { |one, other| one > other }
  total = 0
  events = Events.new.on(:add) { |number, by: 2| total += number * by }.on(:add) { |number, **| total -= number }
  20.times { |number| events.emit(:add, number, by: i) }
  tree = Node.new(50)
  shapes.each { |shape| tree.add(shape.area.to_i % 100) }
  tree.first(3) + tree.select(&:even?)
  collections(i)
  control(i)
  dynamic(i)
  concurrent(i) if (i % 6).zero?
end
2.times { GC.start }
