# frozen_string_literal: true

require_relative "work"

# The database of the volume is opened by each dyno, with its first request.
work = nil

run lambda { |env|
  work ||= Work.new("/data/bench.sqlite3")
  [200, { "content-type" => "text/plain" }, [work.public_send(env["PATH_INFO"].delete("/")).to_s]]
}
