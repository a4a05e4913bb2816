-- A guest counter, a stream and a form in plain Lua: no framework, no libraries.
local routes = require("routes")

local visits = 0

routes.get("/", function()
  visits = visits + 1
  return 200, { ["Content-Type"] = "text/plain" },
    ("Hello from %s, dyno %s. Visits of this dyno: %d\n"):format(_VERSION, os.getenv("DYNO") or "?", visits)
end)

routes.get("/greeting", function()
  return 200, { ["Content-Type"] = "text/plain" }, (os.getenv("GREETING") or "no greeting") .. "\n"
end)

routes.get("/dice", function()
  return 200, { ["Content-Type"] = "text/plain" }, math.random(1, 1000000000) .. "\n"
end)

-- A body that is a function is sent piece by piece.
routes.get("/count", function(request)
  local last, number = tonumber(request.query) or 3, 0
  return 200, { ["Content-Type"] = "text/plain" }, function()
    number = number + 1
    if number <= last then return number .. "\n" end
  end
end)

-- The body of a request is read as it arrives.
routes.post("/size", function(request)
  local size = 0
  for piece in request.read, request do size = size + #piece end
  return 200, { ["Content-Type"] = "text/plain", ["Set-Cookie"] = { "size=" .. size, "seen=yes" } }, size .. " bytes\n"
end)

routes.get("/error", function() error("an error on purpose") end)

return routes.serve
