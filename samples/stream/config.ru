# Server-sent events: a page that hears the time each second, for as long as it is open.
class Clock
  # What is yielded goes out at once: a dyno that waits has sent all it has.
  def each
    loop do
      yield "data: #{Time.now.utc.strftime("%H:%M:%S")}\n\n"
      sleep 1
    end
  end

  def close = puts("A listener has left.")
end

PAGE = File.read("index.html")

map "/events" do
  run ->(env) { [200, { "content-type" => "text/event-stream", "cache-control" => "no-store" }, Clock.new] }
end

run ->(env) { [200, { "content-type" => "text/html" }, [PAGE]] }
