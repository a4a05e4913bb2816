-- The probe app of the conformance kit: docs/pack-conformance.md specifies the routes.
local count = 0
local routes = {}

routes["/"] = function() return 200, {}, "ok" end
routes["/env"] = function(request) return 200, {}, os.getenv(request.query) or "" end
routes["/query"] = function(request) return 200, {}, request.query end
routes["/random"] = function() return 200, {}, tostring(math.random(math.maxinteger)) end
routes["/clock"] = function() return 200, {}, tostring(os.time()) end
routes["/header"] = function(request) return 200, {}, tostring(#(request.headers["x-probe"] or "")) end
routes["/echo"] = function(request) return 200, { ["Content-Type"] = "application/octet-stream" }, request.body end
routes["/unread"] = function() return 200, {}, "ok" end
routes["/cookies"] = function() return 200, { ["Set-Cookie"] = { "a=1", "b=2" } }, "" end
routes["/status"] = function(request) return tonumber(request.query), {}, "" end
routes["/error"] = function() error("probe error") end
routes["/exit"] = function() os.exit(3) end

routes["/count"] = function()
  count = count + 1
  return 200, {}, tostring(count)
end

routes["/file"] = function()
  local file = assert(io.open("probe.txt"))
  return 200, {}, file:read("a")
end

routes["/write"] = function()
  local file = assert(io.open("/tmp/probe", "w"))
  file:write("x")
  file:close()
  return 200, {}, "written"
end

routes["/written"] = function() return 200, {}, io.open("/tmp/probe") and "yes" or "no" end

routes["/size"] = function(request)
  local size = 0
  for piece in request.read, request do size = size + #piece end
  return 200, {}, tostring(size)
end

routes["/endless"] = function()
  local piece = ("x"):rep(1000)
  return 200, {}, function() return piece end
end

routes["/late"] = function()
  local sent = false
  return 200, {}, function()
    if sent then error("probe error after the head") end
    sent = true
    return ("x"):rep(100000)
  end
end

routes["/deep"] = function()
  local function down(n) return 1 + down(n + 1) end
  local ok = pcall(down, 0)
  return 200, {}, ok and "no" or "caught"
end

routes["/memory"] = function()
  local ok = pcall(function()
    local list = {}
    for index = 1, math.maxinteger do list[index] = ("x"):rep(1 << 20) .. index end
  end)
  collectgarbage()
  return 200, {}, ok and "no" or "caught"
end

routes["/log"] = function(request)
  io.stderr:write(("L"):rep(tonumber(request.query)), "\n")
  return 200, {}, "ok"
end

local loops = {}

function loops.plain() while true do end end

function loops.sort()
  local list = {}
  for index = 1, 100000 do list[index] = index end
  while true do table.sort(list, function(a, b) return a > b end) end
end

function loops.pattern()
  local text = ("a"):rep(100000)
  while true do text:find((".-"):rep(10) .. "b") end
end

function loops.text() while true do local _ = ("x"):rep(10000):reverse():upper() end end

routes["/loop"] = function(request)
  loops[request.query]()
end

return function(request)
  local route = routes[request.path]
  if route then return route(request) end
  return 404, {}, "no such route"
end
