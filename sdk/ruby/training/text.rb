# frozen_string_literal: true

# Work on text and data: scanning, formatting, encodings, and the formats of the standard library.

require "base64"
require "bigdecimal"
require "digest"
require "json"
require "optparse"
require "ripper"
require "strscan"
require "time"
require "uri"
require "yaml"
require "zlib"

SOURCE = <<~'RUBY' * 30
  class Account < Record # a comment of some words
    def initialize(name, *rest, limit: 10, **options, &block) = (@name, @rest = name, rest)
    def balance = entries.sum { |entry| entry.amount if entry.valid? && $total != [1, 2.5, :three] }
    def to_s = "#{@name}: #{'%.2f' % balance} (#{%w[a b].join(', ')})"
  end
RUBY

DOCUMENT = {
  "title" => "A document", "count" => 3, "ratio" => 0.25, "none" => nil,
  "rows" => Array.new(40) { |i| { "id" => i, "price" => i / 3.0, "name" => %(row "#{i}" – ü), "odd" => i.odd? } },
  "deep" => { "er" => { "still" => [1, [2, [3, "four"]]] } }
}.freeze

class Lexer
  RULES = {
    space: /\s+/, number: /\d+(?:\.\d+)?/, word: /[a-z_]\w*/i, string: /"(?:[^"\\]|\\.)*"/, operator: %r{[-+*/()=,]}
  }.freeze

  def initialize(text) = @scanner = StringScanner.new(text)

  def tokens
    found = []
    until @scanner.eos?
      kind, = RULES.find { |_, rule| @scanner.scan(rule) }
      raise ArgumentError, "unexpected #{@scanner.getch.inspect}" unless kind

      found << [kind, @scanner.matched] unless kind == :space
    end
    found
  end
end

class Calculator
  def initialize(text)
    @tokens = Lexer.new(text).tokens
    @variables = Hash.new { |_, name| raise KeyError, name }
  end

  def []=(name, value)
    @variables[name] = value
  end

  def result = sum

  private

  def ahead = @tokens.first&.last
  def take = @tokens.shift.last

  def sum
    value = product
    value = take == "+" ? value + product : value - product while ["+", "-"].include?(ahead)
    value
  end

  def product
    value = atom
    value = take == "*" ? value * atom : value / atom while ["*", "/"].include?(ahead)
    value
  end

  def atom
    case @tokens.shift
    in [:number, text] then text.include?(".") ? text.to_f : text.to_i
    in [:word, name] then @variables[name]
    in [:operator, "("] then sum.tap { take }
    in [:operator, "-"] then -atom
    end
  end
end

150.times do |i|
  calculator = Calculator.new("(1 + 2.5) * width - 4 / (7 + #{i}) * (height - 2) + -3 * (2 + 3 * (4 + 5))")
  calculator["width"] = i
  calculator["height"] = i * 1.5
  calculator.result
  Calculator.new("1 + missing").result
rescue KeyError => error
  error.message
end

2.times { Ripper.sexp(SOURCE).flatten.count { |node| node.is_a?(Symbol) } }
3.times { Ripper.lex(SOURCE).group_by { |_, kind| kind }.transform_values(&:size) }

10.times do
  words = Hash.new(0)
  SOURCE.scan(/\w+/) { |word| words[word.downcase] += 1 }
  words.sort_by { |word, count| [-count, word] }.first(20).to_h
  lines = SOURCE.each_line.map(&:chomp).reject { |line| line.strip.empty? }
  lines.group_by(&:size).transform_values(&:count).max_by(&:last)
  lines.map { |line| line[/\A\s*/].size }.each_cons(2).count { |one, other| other > one }
end

40.times do |i|
  text = +""
  30.times { |j| text << "line #{j}: " << j.to_s.rjust(4, "0") << "\t" << (j * 1.37).round(2).to_s << "\n" }
  cells = text.lines.map { |line| line.split("\t").map(&:strip) }.transpose
  cells.last.sum(&:to_f)
  format("%5d|%-8s|%08.3f|%x|%+d|%s", i, "left", i / 7.0, i * 255, i, :symbol)
  text.tr("a-y", "b-z").squeeze("0").delete("\t").center(90).unpack("C*").sum
  text.each_char.tally.select { |_, count| count > 20 }
  text.encode("UTF-16LE").force_encoding("BINARY").bytes.each_slice(16).map { |row| row.map { |byte| "%02x" % byte }.join(" ") }
  text =~ /(\d+):\s+(\d+)/ && [$1, $2, $~.pre_match.size]
  text.sub("line", "LINE").index("9", 20)
  text.start_with?("line") && text.end_with?("\n") && text.include?("12")
  text.byteslice(3, 50).b.hash
end

80.times do |i|
  "CamelCaseWord#{i} and snake_case_word".gsub(/([A-Z])(\w)/) { "#{$1.downcase}-#{$2}" }.gsub(/[aeiou]/, "a" => "1", "e" => "2")
  "snake_case_#{i}".split("_").map.with_index { |part, n| n.zero? ? part : part.capitalize }.join.to_sym
  "é漢字 ünï #{i}".chars.reverse.join.unicode_normalize(:nfd).scan(/\p{L}/).size
  "a, b;c d".split(/[,; ]+/).map(&:to_sym).each(&:to_proc)
  "Hello, World".swapcase.sum
  "%d items" % i
  "x" * 20 + "y"
  "2024-05-0#{i % 9 + 1}".match?(/\A\d{4}-\d\d-\d\d\z/)
  "key=value; other=#{i}".scan(/(\w+)=(\w+)/).to_h
  "abc".succ.ljust(10, ".").insert(2, "-").chop.prepend(">")
  <<~TEXT.strip.lines.map(&:strip).join(" ").squeeze
    some text #{i}
      with lines
  TEXT
end

25.times do
  text = JSON.pretty_generate(DOCUMENT)
  JSON.parse(text, symbolize_names: true).dig(:deep, :er, :still)
  JSON.parse(DOCUMENT.to_json)
  Marshal.load(Marshal.dump(DOCUMENT)) == DOCUMENT
end
5.times { YAML.safe_load(DOCUMENT.to_yaml) }

10.times do
  Zlib::Inflate.inflate(Zlib::Deflate.deflate(SOURCE)) == SOURCE
  Digest::MD5.hexdigest(SOURCE)
  Digest::SHA256.digest(SOURCE).unpack1("H*")
  Base64.strict_decode64(Base64.strict_encode64(SOURCE)).bytesize
  [SOURCE.size, 1, 2].pack("Nnv").unpack("Nnv")
end

120.times do |i|
  uri = URI.parse("https://user@example.com:8080/a/b;c?d=#{i}&e=f#part")
  [uri.host, uri.port, uri.query, URI.join(uri, "../x?y=1").to_s]
  URI.encode_www_form(a: 1, b: "ü #{i}")
  time = Time.at(1_700_000_000 + i * 86_400).utc
  [time.httpdate, time.iso8601, time.strftime("%Y-%m-%d %H:%M:%S %z"), time.wday, (time + 3600 - time).to_i]
  Time.parse("2024-05-06 07:08:09 UTC").to_i
  parser = OptionParser.new do |options|
    options.on("-v", "--verbose")
    options.on("-n", "--number N", Integer)
  end
  parser.parse(%W[-v --number #{i} rest], into: {})
end

50.times do |i|
  big = 2**75 + i
  (big * big / 3 % 1_000_007).to_s(16)
  big.to_s.to_i.digits.sum
  (BigDecimal("1.#{i}") * 3).round(2).to_s("F")
  [Rational(i + 1, 3) + 1, Complex(1, i) * 2, (i / 7.0).floor(2), Math.sqrt(i).ceil, i.gcd(12), i.bit_length ^ 5 & 3 | i << 2 >> 1]
  "3.25e1".to_f + "17".to_i + Integer("0x1f", 16) + Float("2.5")
  Integer("z#{i}", exception: false)
end
