# frozen_string_literal: true

module Dyno
  module Extension
    # Carries out Makefiles as mkmf writes them, and simple ones that gems bring along: variables, explicit rules, suffix and
    # pattern rules, and the functions on names. Commands run by Processes::Shell.
    class Make
      # A Makefile that cannot be carried out, or a command that failed.
      class Failed < StandardError
      end

      # Files that one Makefile may include, one after the other.
      MAX_INCLUDES = 20
      # Rules may need each other to this depth.
      MAX_DEPTH = 200

      Rule = Struct.new(:targets, :needed, :ordered, :commands)

    # Variables and rules that make itself has.
    DEFAULTS = { "MAKE" => "make", "AR" => "ar", "ARFLAGS" => "rv", "CC" => "cc", "CXX" => "c++", "RM" => "rm -f" }.freeze
    BUILT_IN = { ".c" => "$(CC) $(CFLAGS)", ".cc" => "$(CXX) $(CXXFLAGS)", ".cpp" => "$(CXX) $(CXXFLAGS)" }.map do |kind, compiler|
      Rule.new(["%.o"], ["%#{kind}"], [], ["#{compiler} $(CPPFLAGS) -c -o $@ $<"])
    end.freeze

      # `variables` override those of the file, as on make's command line.
      def initialize(file, variables = {})
        @overrides = variables
        @variables = { "CURDIR" => Dir.pwd }
        @rules = {}
        @patterns = []
        @suffixes = %w[.c .cc .cpp .cxx .C .S .o]
        @searched = []
        @first = nil
        @made = {}
        @includes = 0
        read(file)
        @patterns.concat(BUILT_IN)
      end

      # Makes the targets, or the first one of the file.
      def run(targets)
        targets = [@first].compact if targets.empty?
        targets.each { |target| make(target, 0) }
      end

      private

      def read(file)
        raise Failed, "#{file}: more than #{MAX_INCLUDES} Makefiles include each other" if (@includes += 1) > MAX_INCLUDES

        lines = File.read(file).gsub(/\\\r?\n[ \t]*/, " ").lines(chomp: true)
        rules = nil
        conditions = []
        defined = nil
        lines.each do |line|
          if defined || line.start_with?("define ")
            defined = define(defined, line, conditions.all?)
            next
          end
          next command(rules, line) if line.start_with?("\t") && rules && conditions.all?

          text = line.sub(/(?<!\\)#.*/, "").rstrip
          next if text.strip.empty?
          next if condition(text.strip, conditions) || !conditions.all?

          rules = statement(text)
        end
      rescue SystemCallError => error
        raise Failed, "Makefile: #{error.message}"
      end

      # Reads a line of `define NAME` … `endef`. Returns the name and the lines until the end.
      def define(defined, line, holds)
        return [line.split[1].to_s, []] unless defined
        return defined.tap { |_, lines| lines << line } unless line.match?(/\A\s*endef\b/)

        @variables[defined.first] = defined.last.join("\n") if holds
        nil
      end

      def command(rules, line)
        rules.each { |rule| rule.commands << line[1..] }
      end

      # Keeps track of `ifeq` and its like. Returns whether the line is one of them.
      def condition(text, conditions)
        case text
        when /\Aif(n?)(eq|def)\b\s*(.*)\z/
          holds = $2 == "eq" ? equal?($3) : !value($3).empty?
          conditions << ($1.empty? ? holds : !holds)
        when /\Aelse\b/ then conditions[-1] = !conditions[-1]
        when /\Aendif\b/ then conditions.pop
        else return false
        end
        true
      end

      def equal?(text)
        left, right = text.match(/\A\((.*),(.*)\)\z/)&.captures || Shellwords.split(text)
        expand(left.to_s).strip == expand(right.to_s).strip
      end

      # Reads an assignment, an `include` or the head of a rule. Returns the rules whose commands follow.
      def statement(text)
        case text
        when /\A\s*(?:override\s+|export\s+)?([^\s:=+?!]+)\s*(\+=|\?=|::?=|=)\s*(.*)\z/ then assign($1, $2, $3)
        when /\A-?include\s+(.*)\z/
          expand($1).split.each { |file| read(file) if File.file?(file) || !text.start_with?("-") }
          nil
        when /\A(?:export|unexport|vpath|define|endef)\b/ then nil
        when /\A([^:]+?)\s*::?(?!=)\s*(.*)\z/ then rule($1, $2)
        end
      end

      def assign(name, operator, value)
        case operator
        when "=" then @variables[name] = value
        when ":=", "::=" then @variables[name] = expand(value).gsub("$", "$$")
        when "?=" then @variables[name] ||= value unless ENV.key?(name)
        when "+=" then @variables[name] = [@variables[name] || ENV[name], value].compact.join(" ")
        end
        nil
      end

      def rule(targets, needed)
        needed, inline = needed.split(";", 2)
        needed, ordered = needed.to_s.split("|", 2)
        targets = expand(targets).split
        needed = expand(needed.to_s).split
        return suffixes(needed) if targets == [".SUFFIXES"]

        rules = targets.map { |target| add_rule(target, needed, expand(ordered.to_s).split) }
        command(rules, "\t#{inline.strip}") if inline
        rules
      end

      def suffixes(added)
        added.empty? ? @suffixes.clear : @suffixes.concat(added)
        nil
      end

      def add_rule(target, needed, ordered)
        if target.include?("%")
          return Rule.new([target], needed, ordered, []).tap { |rule| @patterns << rule }
        end
        if (from, to = suffix_pair(target)) && needed.empty?
          return Rule.new(["%#{to}"], ["%#{from}"], ordered, []).tap { |rule| @patterns << rule }
        end

        @first ||= target unless target.start_with?(".")
        rule = @rules[target] ||= Rule.new([target], [], [], [])
        rule.needed |= needed
        rule.ordered |= ordered
        rule
      end

      # Splits a suffix rule's target, such as `.c.o`.
      def suffix_pair(target)
        return unless target.start_with?(".")

        @suffixes.each do |from|
          to = target.delete_prefix(from)
          return [from, to] if target.start_with?(from) && @suffixes.include?(to)
        end
        nil
      end

      def make(target, depth)
        raise Failed, "make: rules need each other in a circle at #{target}" if depth > MAX_DEPTH
        return if @made[target]

        @made[target] = true
        rule, stem, needed = rule_for(target)
        unless rule
          return if locate(target)

          raise Failed, "make: no rule to make #{target}"
        end
        (needed + rule.ordered).each { |name| make(name, depth + 1) }
        needed = needed.map { |name| locate(name) || name }
        carry_out(rule, target, needed, stem) if stale?(target, needed, rule)
      end

      # Returns the rule that makes a target, the part of its name that a pattern stands for, and all that it needs.
      def rule_for(target)
        own = @rules[target]
        return [own, nil, own.needed] if own && !own.commands.empty?

        @patterns.each do |pattern|
          stem = stem(pattern.targets.first, target) or next
          needed = pattern.needed.map { |name| name.sub("%", stem) }
          next unless needed.all? { |name| locate(name) || @rules.key?(name) }

          return [pattern, stem, needed + (own ? own.needed : [])]
        end
        own && [own, nil, own.needed]
      end

      def stem(pattern, name)
        head, tail = pattern.split("%", 2)
        return unless name.start_with?(head) && name.end_with?(tail) && name.length > head.length + tail.length

        name[head.length..-(tail.length + 1)]
      end

      # Returns the path of an existing file, which may be in a folder of VPATH.
      def locate(name)
        return name if File.exist?(name)
        return if name.start_with?("/")

        folders = value("VPATH").split(/[:\s]+/) + [value("srcdir")]
        folders.map { |folder| File.join(folder, name) }.find { |path| File.exist?(path) }
      end

      def stale?(target, needed, rule)
        return true unless File.exist?(target)
        return false if rule.commands.empty?

        time = File.mtime(target)
        needed.any? { |name| !File.exist?(name) || File.mtime(name) > time }
      end

      def carry_out(rule, target, needed, stem)
        @automatic = { "@" => target, "<" => needed.first.to_s, "^" => needed.uniq.join(" "), "+" => needed.join(" "), "?" => needed.uniq.join(" "),
                       "*" => stem || target.delete_suffix(File.extname(target)), "@D" => File.dirname(target), "@F" => File.basename(target),
                       "<D" => File.dirname(needed.first.to_s), "<F" => File.basename(needed.first.to_s) }
        rule.commands.each { |line| perform(line) }
      end

      def perform(line)
        line = expand(line).strip
        ignored = false
        ignored |= line.slice!(0) == "-" while line.match?(/\A[-@+\s]/)
        return if line.empty?

        result = Processes::Shell.run(line, Dir.pwd)
        return if result.status.zero? || ignored

        raise Failed, "#{line}\n#{result.output}#{result.errors}make: the command failed with status #{result.status}"
      end

      def value(name)
        variable(name, 0)
      end

      # Replaces references to variables and calls of functions.
      def expand(text, depth = 0)
        raise Failed, "make: a variable refers to itself: #{text}" if depth > MAX_DEPTH
        return text unless text.include?("$")

        out = +""
        at = 0
        while (dollar = text.index("$", at))
          out << text[at...dollar]
          following = text[dollar + 1]
          if ["(", "{"].include?(following)
            finish = closing(text, dollar + 1)
            out << reference(text[(dollar + 2)...finish], depth)
            at = finish + 1
          else
            out << (following == "$" ? "$" : variable(following.to_s, depth))
            at = dollar + 2
          end
        end
        out << text[at..].to_s
      end

      def closing(text, open)
        pair = text[open] == "(" ? "()" : "{}"
        level = 0
        (open...text.length).each do |index|
          level += 1 if text[index] == pair[0]
          level -= 1 if text[index] == pair[1]
          return index if level.zero?
        end
        raise Failed, "make: a bracket is not closed: #{text}"
      end

      def reference(inside, depth)
        if (name, arguments = inside.match(/\A([a-z]+)[ \t]+(.*)\z/m)&.captures) && FUNCTIONS.include?(name)
          return function(name, arguments, depth)
        end

        inside = expand(inside, depth + 1)
        if (name, from, to = inside.match(/\A([^:]+):([^=]*)=(.*)\z/)&.captures)
          from, to = "%#{from}", "%#{to}" unless from.include?("%")
          return substitute(from, to, variable(name, depth))
        end

        variable(inside, depth)
      end

      def variable(name, depth)
        automatic = @automatic && @automatic[name]
        return automatic if automatic

        expand((@overrides[name] || @variables[name] || ENV[name] || DEFAULTS[name]).to_s, depth + 1)
      end

      FUNCTIONS = %w[addprefix addsuffix basename dir error filter firstword foreach if info notdir patsubst shell sort strip subst suffix
                     warning wildcard words].freeze

      def function(name, text, depth)
        return choose(text, depth) if name == "if"

        arguments = split_arguments(text).map { |argument| expand(argument, depth + 1) }
        first, second, third = arguments
        case name
        when "addprefix" then second.split.map { |word| first + word }.join(" ")
        when "addsuffix" then second.split.map { |word| word + first }.join(" ")
        when "basename" then first.split.map { |word| word.delete_suffix(File.extname(word)) }.join(" ")
        when "dir" then first.split.map { |word| "#{File.dirname(word)}/" }.join(" ")
        when "error" then raise Failed, "make: #{first}"
        when "filter" then second.split.select { |word| first.split.any? { |pattern| word == pattern || (pattern.include?("%") && stem(pattern, word)) } }.join(" ")
        when "firstword" then first.split.first.to_s
        when "info", "warning" then ""
        when "notdir" then first.split.map { |word| File.basename(word) }.join(" ")
        when "patsubst" then substitute(first, second, third)
        when "shell" then Processes::Shell.run(first, Dir.pwd).output.tr("\n", " ").strip
        when "sort" then first.split.uniq.sort.join(" ")
        when "strip" then first.split.join(" ")
        when "subst" then third.gsub(first, second)
        when "suffix" then first.split.map { |word| File.extname(word) }.join(" ")
        when "wildcard" then Dir.glob(first.split).join(" ")
        when "words" then first.split.length.to_s
        else raise Failed, "make: $(#{name} …) is not supported"
        end
      end

      def choose(text, depth)
        condition, yes, no = split_arguments(text)
        expand((expand(condition.to_s, depth + 1).strip.empty? ? no : yes).to_s, depth + 1)
      end

      # Splits at commas outside of brackets.
      def split_arguments(text)
        level = 0
        text.each_char.with_object([+""]) do |character, found|
          level += 1 if "({".include?(character)
          level -= 1 if ")}".include?(character)
          character == "," && level.zero? ? found << +"" : found.last << character
        end
      end

      def substitute(from, to, text)
        text.split.map do |word|
          head, tail = from.split("%", 2)
          next word == from ? to : word unless tail
          next word unless word.length >= head.length + tail.length && word.start_with?(head) && word.end_with?(tail)

          to.sub("%") { word[head.length..-(tail.length + 1)] }
        end.join(" ")
      end
    end
  end
end
