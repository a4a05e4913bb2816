# The probe app of the conformance kit: docs/pack-conformance.md specifies the routes.
count = 0

late = Enumerator.new do |body|
  body << "x" * 100_000
  raise "probe error after the head"
end

endless = Enumerator.new do |body|
  piece = "x" * 1000
  loop { body << piece }
end

down = ->(n) { 1 + down.(n + 1) }

loops = {
  "plain" => -> { loop {} },
  "sort" => -> { loop { (1..100_000).to_a.sort { |a, b| b <=> a } } },
  "pattern" => -> { loop { /(x+x+)+y\1/.match?("x" * 40) } },
  "text" => -> { loop { ("x" * 10_000).reverse.upcase } },
}

run lambda { |env|
  query, body = env["QUERY_STRING"], env["rack.input"]
  text = ->(value) { [200, {}, [value.to_s]] }
  case env["PATH_INFO"]
  when "/" then text["ok"]
  when "/env" then text[ENV[query]]
  when "/query" then text[query]
  when "/random" then text[Random.rand(2**62)]
  when "/clock" then text[Time.now.to_f]
  when "/header" then text[env["HTTP_X_PROBE"].to_s.size]
  when "/echo" then text[body.read]
  when "/unread" then text["ok"]
  when "/cookies" then [200, { "set-cookie" => %w[a=1 b=2] }, []]
  when "/status" then [query.to_i, {}, []]
  when "/error" then raise "probe error"
  when "/exit" then exit!(3)
  when "/count" then text[count += 1]
  when "/file" then text[File.read("probe.txt")]
  when "/write"
    File.write("/tmp/probe", "x")
    text["written"]
  when "/written" then text[File.exist?("/tmp/probe") ? "yes" : "no"]
  when "/size"
    size = 0
    while (piece = body.read(65_536))
      size += piece.bytesize
    end
    text[size]
  when "/endless" then [200, {}, endless]
  when "/late" then [200, {}, late]
  when "/deep"
    begin
      down.(0)
      text["no"]
    rescue SystemStackError
      text["caught"]
    end
  when "/memory"
    begin
      list = []
      loop { list << "x" * (1 << 20) }
    rescue NoMemoryError
      list = nil
      GC.start
      text["caught"]
    end
  when "/log"
    $stderr.puts("L" * query.to_i)
    text["ok"]
  when "/loop"
    loops.fetch(query).call
  else
    [404, {}, ["no such route"]]
  end
}
