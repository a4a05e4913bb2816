# frozen_string_literal: true

# Second part of script/gems-load: makes an app of all gems whose dependencies are there, pushes it to a node of its own,
# and loads each gem in a dyno and natively.

require "fileutils"
require "open3"
require "socket"
require "tmpdir"

tree, work = ARGV
home = "#{tree}/usr/share/rubygems-integration/all"
corundum = File.expand_path(ENV.fetch("CORUNDUM", "target/debug/corundum"))

# Files of gems that have another name.
FILES = { "activemodel" => "active_model", "activesupport" => "active_support", "concurrent-ruby" => "concurrent",
          "concurrent-ruby-edge" => "concurrent-edge" }.freeze

specs = Dir["#{home}/specifications/*.gemspec"].filter_map { |file| Gem::Specification.load(file) }.to_h { |spec| [spec.name, spec] }
standard = Dir["#{RbConfig::CONFIG["rubylibprefix"]}/gems/*/specifications/default/*.gemspec"]
standard = standard.map { |file| File.basename(file)[/\A(.+)-\d/, 1] } + %w[bundler]
# Gems of the pack, in whatever version it has.
bundled = %w[bigdecimal minitest net-imap net-pop net-smtp prime racc rake rexml] - specs.keys
standard += bundled
loop do
  lacking = specs.reject { |_, spec| spec.runtime_dependencies.all? { |needed| specs.key?(needed.name) || standard.include?(needed.name) } }
  lacking.each { |name, spec| puts "#{name}: not loaded, since a package is missing: #{spec.runtime_dependencies.map(&:name) - specs.keys}" }
  break if lacking.empty?

  specs.reject! { |name, _| lacking.key?(name) }
end

Dir.mktmpdir do |directory|
  app = "#{directory}/app"
  FileUtils.mkdir_p(app)
  File.write("#{app}/config.ru", "run ->(_) { [200, {}, []] }\n")
  File.write("#{app}/Gemfile", "source 'https://rubygems.org'\n" + (specs.keys + bundled).sort.map { |name| "gem '#{name}', require: false\n" }.join)
  locked = specs.values.sort_by(&:name).map do |spec|
    needed = spec.runtime_dependencies.map(&:name).select { |name| specs.key?(name) || bundled.include?(name) }.sort
    "    #{spec.name} (#{spec.version})\n" + needed.map { |name| "      #{name}\n" }.join
  end
  locked += bundled.map { |name| "    #{name} (1.0)\n" }
  names = (specs.keys + bundled).sort.map { |name| "  #{name}\n" }.join
  File.write("#{app}/Gemfile.lock",
             "GEM\n  remote: https://rubygems.org/\n  specs:\n#{locked.join}\nPLATFORMS\n  ruby\n\nDEPENDENCIES\n#{names}")
  port = ->(_) { TCPServer.open("127.0.0.1", 0) { |server| server.addr[1] } }
  http, api, admin = [1, 2, 3].map(&port)
  environment = { "HOME" => directory, "CORUNDUM_API" => "http://127.0.0.1:#{api}", "CORUNDUM_CACHE" => ENV.fetch("CORUNDUM_CACHE", File.expand_path("~/.cache/corundum")) }
  node = spawn(environment, corundum, "server", "--data-dir", "#{directory}/data", "--http", "127.0.0.1:#{http}",
               "--api", "127.0.0.1:#{api}", "--admin", "127.0.0.1:#{admin}", "--gems", home, "--gem-source", "http://localhost:1/",
               out: "#{work}/node.log", err: "#{work}/node.log")
  at_exit { Process.kill("KILL", node) }
  run = lambda do |*command|
    output, status = Open3.capture2e(environment, *command, chdir: app)
    [status.success?, output]
  end
  sleep 0.2 until (TCPSocket.open("127.0.0.1", api).close || true rescue false)
  [%W[git init -q -b main], %W[#{corundum} create gems],
   %w[git add -A], %w[git -c user.name=a -c user.email=a@b.c commit -qm gems], %w[git push corundum main]].each do |command|
    good, output = run.call(*command)
    next puts(output.lines.grep(/Booting|Released|Compressing/)) if good

    abort "#{command.join(" ")}:\n#{output}"
  end
  loaded = 0
  specs.each_key do |name|
    file = FILES.fetch(name, name)
    code = "begin; require '#{file}'; rescue LoadError => e; raise unless e.path == '#{file}'; require '#{file.tr("-", "/")}'; end; puts 'lo' + 'aded'"
    good, output = run.call(corundum, "run", "bundle", "exec", "ruby", "-e", code)
    good &&= output.include?("loaded")
    loaded += 1 if good
    next if good

    paths = Dir["#{tree}/usr/{lib/ruby/vendor_ruby,share/rubygems-integration/all/gems/*/lib}"].sort
    native, = run.call("ruby", *paths.flat_map { |path| ["-I", path] }, "-e", code)
    puts "#{name}: #{native ? "loads natively only" : "loads neither way"}: #{output.strip.lines.first(2).join(" ").strip}"
  end
  puts "#{loaded} of #{specs.length} gems load"
end
