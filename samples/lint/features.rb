# A small app for each thing that Rack lets an app do.

def text(*body) = [200, { "content-type" => "text/plain" }, body]

# A body that is made piece by piece.
class Countdown
  def each
    3.downto(1) { |number| yield "#{number} " }
  end

  def close = puts("The countdown is closed.")
end

FEATURES = {
  # Bodies
  "/array" => ->(env) { text("an ", "array") },
  "/each" => ->(env) { [200, { "content-type" => "text/plain" }, Countdown.new] },
  "/file" => ->(env) { [200, { "content-type" => "text/plain" }, File.open(__FILE__)] },

  # Responses
  "/no-content" => ->(env) { [204, {}, []] },
  "/not-modified" => ->(env) { [304, { "etag" => '"1"' }, []] },
  "/redirect" => ->(env) { [302, { "location" => "/array" }, []] },
  "/cookies" => lambda { |env|
    response = Rack::Response.new("two cookies")
    response.set_cookie("a", "1")
    response.set_cookie("b", "2")
    response.finish
  },

  # Requests
  "/path" => ->(env) { text(env["SCRIPT_NAME"], " ", env["PATH_INFO"]) },
  "/read" => lambda { |env|
    sizes = []
    while (part = env["rack.input"].read(4))
      sizes << part.bytesize
    end
    text(sizes.join(" "))
  },
  "/lines" => ->(env) { text(env["rack.input"].gets.to_s.chomp, *env["rack.input"].enum_for(:each).map(&:upcase)) },
  "/form" => ->(env) { text(Rack::Request.new(env).POST.inspect) },
  "/file-field" => lambda { |env|
    field = Rack::Request.new(env).POST["file"]
    text(field[:filename], " ", field[:tempfile].size.to_s)
  },

  # The log
  "/errors" => lambda { |env|
    env["rack.errors"].puts("a line for the log")
    env["rack.errors"].write("and another\n")
    env["rack.errors"].flush
    text("logged")
  }
}

if Rack.release < "3"
  FEATURES["/rewind"] = lambda { |env|
    input = env["rack.input"]
    size = input.read.bytesize
    input.rewind
    text("#{size} #{input.read.bytesize}")
  }
else
  FEATURES["/call"] = ->(env) { [200, {}, ->(stream) { stream << "a " << "stream"; stream.close }] }
  FEATURES["/hijack"] = lambda { |env|
    [200, { "rack.hijack" => ->(stream) { stream.write("taken over"); stream.close } }, []]
  }
  FEATURES["/finished"] = lambda { |env|
    env["rack.response_finished"] << ->(_env, status, _headers, error) { puts("finished: #{[status, error]}") }
    text("soon")
  }
end
