-- What scripts find around them: the libraries they may use, none of which they can change.
local rust, libraries, redis_of_functions, redis_of_loading = ...

local error, type, tostring, select = error, type, tostring, select
local pcall, xpcall, unpack = pcall, xpcall, unpack
local getmetatable, setmetatable, rawget, rawset = getmetatable, setmetatable, rawget, rawset
local resume = coroutine.resume
local compile, explain, position = rust.compile, rust.explain, rust.position

-- Stand-ins for tables that must not change, and what they stand for.
local originals = setmetatable({}, {__mode = 'k'})
local READONLY = 'Attempt to modify a readonly table'

local function refuse()
  error(READONLY, 2)
end

local function protect(original)
  local stand_in = setmetatable({}, {__index = original, __newindex = refuse})
  originals[stand_in] = original
  return stand_in
end

-- Errors of functions that are not written in Lua are objects; scripts see a text or a table.
local function plain(problem)
  if type(problem) == 'userdata' then
    return explain(problem)
  end
  return problem
end

local function settle(succeeded, ...)
  if succeeded then
    return succeeded, ...
  end
  local problem = plain((...))
  if type(problem) == 'table' then
    local text = problem.err
    if type(text) ~= 'string' and type(text) ~= 'number' then
      return false, problem, text
    end
    problem = text
  end
  return false, problem
end

local function settle_resumed(succeeded, ...)
  if succeeded then
    return succeeded, ...
  end
  return false, plain((...))
end

-- Adds where an error has happened.
local function locate(problem)
  problem = plain(problem)
  if type(problem) ~= 'table' then
    problem = {err = 'ERR ' .. tostring(problem)}
  end
  local source, line = position()
  if source then
    problem.source, problem.line = source, line
  end
  return problem
end

local globals = {}
for _, name in ipairs {
  '_VERSION', 'assert', 'collectgarbage', 'error', 'gcinfo', 'ipairs', 'next', 'pairs', 'rawequal',
  'select', 'tonumber', 'tostring', 'type', 'unpack',
} do
  globals[name] = _G[name]
end

function globals.pcall(...)
  return settle(pcall(...))
end

function globals.xpcall(f, handler)
  return settle_resumed(xpcall(f, function(problem)
    return handler(plain(problem))
  end))
end

function globals.loadstring(text, name)
  return compile(text, name or text)
end

function globals.load(reader, name)
  local pieces = {}
  while true do
    local piece = reader()
    if piece == nil or piece == '' then
      break
    end
    pieces[#pieces + 1] = piece
  end
  return compile(table.concat(pieces), name or '=(load)')
end

function globals.getmetatable(value)
  if value ~= nil and originals[value] and originals[value] ~= globals then
    return nil
  end
  return getmetatable(value)
end

function globals.setmetatable(value, metatable)
  if value ~= nil and originals[value] then
    error(READONLY, 0)
  end
  return setmetatable(value, metatable)
end

function globals.rawget(value, name)
  return rawget(value ~= nil and originals[value] or value, name)
end

function globals.rawset(value, name, item)
  if value ~= nil and originals[value] then
    error(READONLY, 0)
  end
  return rawset(value, name, item)
end

globals.__redis__err__handler = locate

coroutine.resume = function(...)
  return settle_resumed(resume(...))
end

libraries.string, libraries.table, libraries.math = string, table, math
libraries.coroutine = coroutine
for name, library in pairs(libraries) do
  globals[name] = protect(library)
end
getmetatable('').__metatable = protect({__index = globals.string})

local only_known = {
  __index = function(_, name)
    error("Script attempted to access nonexistent global variable '" .. tostring(name) .. "'", 2)
  end,
}

local globals_of_functions = {}
for name, value in pairs(globals) do
  globals_of_functions[name] = value
end
globals_of_functions.redis = protect(redis_of_functions)

local function surround(surroundings)
  local environment = protect(surroundings)
  surroundings._G = environment
  setmetatable(surroundings, only_known)
  return environment, getmetatable(environment)
end

local environment, own = surround(globals)
own.__metatable = protect({})
local functions, ways = surround(globals_of_functions)
ways.__metatable = protect({})

-- While a library is loaded it finds little but the function that registers its functions.
local globals_of_loading = setmetatable({
  redis = protect(setmetatable(redis_of_loading, only_known)),
}, only_known)

local function load_library(library)
  ways.__index = globals_of_loading
  local succeeded, problem = xpcall(library, locate)
  ways.__index = globals_of_functions
  return succeeded, problem
end

-- Runs a script, or a function with its keys and arguments.
local function run(script, ...)
  local count, arguments = select('#', ...), {...}
  return xpcall(function()
    return script(unpack(arguments, 1, count))
  end, locate)
end

return environment, globals, run, functions, load_library
