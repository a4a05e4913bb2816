-- Finds the function for a method and a path.
local routes = {}
local handlers = {}

local function add(method)
  return function(path, handler) handlers[method .. " " .. path] = handler end
end

routes.get, routes.post = add("GET"), add("POST")

function routes.serve(request)
  local method = request.method == "HEAD" and "GET" or request.method
  local handler = handlers[method .. " " .. request.path]
  if handler then return handler(request) end
  return 404, { ["Content-Type"] = "text/plain" }, "There is no " .. request.path .. "\n"
end

return routes
