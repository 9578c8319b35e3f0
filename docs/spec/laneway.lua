-- SPDX-License-Identifier: MIT
-- laneway.lua - shows the wire of Laneway (wire.md) in Wireshark and tshark:
--
--     tshark -X lua_script:laneway.lua -r FILE -Y laneway.data
--     cp laneway.lua ~/.local/lib/wireshark/plugins/
--
-- A connection is recognised by its HELLO. One whose beginning was not captured: Analyze, Decode As, or
-- tshark -d tcp.port==PORT,laneway.

local laneway = Proto("laneway", "Laneway")

local HEADER, LANE, GREETING, WORDS = 64, 96, 192, 32
local MAGIC = "4c414e455741590a"
local kinds = {
    [1] = "HELLO", [2] = "WELCOME", [3] = "REFUSE", [4] = "DATA", [5] = "ACK",
    [6] = "BEAT", [7] = "LANE", [8] = "SAY", [9] = "CLOSE"
}
local roles = {[1] = "OFFERS", [2] = "TAKES"}
local statuses = {[0] = "READY", [1] = "DRAINING"}
local whats = {[0] = "nothing", [1] = "login", [2] = "accepted", [3] = "refused", [4] = "closed"}
local services = {[1] = "link"}

local f = {
    crc = ProtoField.uint32("laneway.crc", "Checksum", base.HEX),
    crc_status = ProtoField.string("laneway.crc.status", "Checksum status"),
    length = ProtoField.uint32("laneway.length", "Length of payload"),
    kind = ProtoField.uint8("laneway.kind", "Kind", base.DEC, kinds),
    flags = ProtoField.uint8("laneway.flags", "Flags", base.HEX),
    flag_ack = ProtoField.bool("laneway.flags.ack", "ACK", 8, nil, 0x01),
    flag_ask = ProtoField.bool("laneway.flags.ask", "ASK", 8, nil, 0x02),
    lane = ProtoField.uint16("laneway.lane", "Lane"),
    ack_lane = ProtoField.uint16("laneway.ack_lane", "Acknowledged lane"),
    ack_reader = ProtoField.uint16("laneway.ack_reader", "Acknowledging reader"),
    position = ProtoField.uint64("laneway.position", "Position"),
    number = ProtoField.uint64("laneway.number", "Number of first message"),
    received = ProtoField.uint64("laneway.received", "Received"),
    consumed = ProtoField.uint64("laneway.consumed", "Consumed"),
    consumed_number = ProtoField.uint64("laneway.consumed_number", "Consumed messages"),
    window = ProtoField.uint64("laneway.window", "Window"),
    magic = ProtoField.string("laneway.magic", "Magic"),
    lowest = ProtoField.uint16("laneway.version.lowest", "Lowest version"),
    highest = ProtoField.uint16("laneway.version.highest", "Highest version"),
    features = ProtoField.uint64("laneway.features", "Features", base.HEX),
    feature_crc = ProtoField.bool("laneway.features.crc", "Checksums"),

    server = ProtoField.stringz("laneway.server", "Server"),
    client = ProtoField.stringz("laneway.client", "Client"),
    host = ProtoField.bytes("laneway.host", "Host"),
    epoch = ProtoField.uint64("laneway.epoch", "Epoch"),
    beat = ProtoField.uint64("laneway.beat", "Beat (ns)"),
    service = ProtoField.uint16("laneway.service", "Service", base.DEC, services),
    lanes = ProtoField.uint16("laneway.lanes", "Lanes"),

    state_id = ProtoField.uint16("laneway.state.id", "Id"),
    state_role = ProtoField.uint8("laneway.state.role", "Role", base.DEC, roles),
    state_status = ProtoField.uint8("laneway.state.status", "Status", base.DEC, statuses),
    state_flags = ProtoField.uint32("laneway.state.flags", "Flags", base.HEX),
    state_fresh = ProtoField.bool("laneway.state.fresh", "FRESH", 32, nil, 0x01),
    state_uuid = ProtoField.bytes("laneway.state.uuid", "Log"),
    state_ring = ProtoField.uint64("laneway.state.ring", "Ring"),
    state_start = ProtoField.uint64("laneway.state.start", "Start"),
    state_first = ProtoField.uint64("laneway.state.first", "First"),
    state_first_number = ProtoField.uint64("laneway.state.first_number", "Number of first"),
    state_end = ProtoField.uint64("laneway.state.end", "End"),
    state_end_number = ProtoField.uint64("laneway.state.end_number", "Number of end"),
    state_window = ProtoField.uint64("laneway.state.window", "Window"),
    state_record_max = ProtoField.uint64("laneway.state.record_max", "Longest record"),

    what = ProtoField.uint32("laneway.what", "What", base.DEC, whats),
    code = ProtoField.int32("laneway.code", "Code"),
    session = ProtoField.uint64("laneway.session", "Session"),
    accepted = ProtoField.uint64("laneway.accepted", "Accepted"),
    words_length = ProtoField.uint32("laneway.words.length", "Length of words"),
    words = ProtoField.string("laneway.words", "Words"),

    data = ProtoField.none("laneway.data", "Records"),
    records = ProtoField.uint32("laneway.records", "Records"),
    record_position = ProtoField.uint64("laneway.record.position", "Position"),
    record_number = ProtoField.uint64("laneway.record.number", "Number"),
    record_length = ProtoField.uint32("laneway.record.length", "Length"),
    record_type = ProtoField.uint16("laneway.record.type", "Type"),
    record_flags = ProtoField.uint16("laneway.record.flags", "Flags", base.HEX),
    record_committed = ProtoField.bool("laneway.record.committed", "Committed", 16, nil, 0x8000),
    record_more = ProtoField.bool("laneway.record.more", "More of the batch follows", 16, nil, 0x4000),
    record_payload = ProtoField.bytes("laneway.record.payload", "Payload")
}
laneway.fields = f

local bad_crc = ProtoExpert.new("laneway.crc.bad", "Wrong checksum", expert.group.CHECKSUM, expert.severity.ERROR)
local bad_frame = ProtoExpert.new("laneway.bad", "Not as the specification says", expert.group.MALFORMED,
                                  expert.severity.ERROR)
laneway.experts = {bad_crc, bad_frame}

laneway.prefs.check = Pref.bool("Compute checksums", true, "Compares each frame with its checksum")
laneway.prefs.records_max = Pref.uint("Records shown of a chunk", 1000, "The others are counted")

-- ---- checksums

local band, bxor, rshift
if bit then
    band, bxor, rshift = bit.band, bit.bxor, bit.rshift
elseif bit32 then
    band, bxor, rshift = bit32.band, bit32.bxor, bit32.rshift
else
    band = load("return function(a, b) return a & b end")()
    bxor = load("return function(a, b) return a ~ b end")()
    rshift = load("return function(a, n) return a >> n end")()
end

local table_of_crc = {}
for i = 0, 255 do
    local c = i
    for _ = 1, 8 do
        c = band(c, 1) == 1 and bxor(rshift(c, 1), 0x82f63b78) or rshift(c, 1)
    end
    table_of_crc[i] = c
end

local function crc32c(tvb, from)
    local bytes, c = tvb(from):bytes(), 0xffffffff
    local raw = bytes:raw()
    for i = 1, #raw do
        c = bxor(table_of_crc[band(bxor(c, raw:byte(i)), 0xff)], rshift(c, 8))
    end
    return bxor(c, 0xffffffff) % 4294967296
end

local function show_crc(tvb, tree)
    local item = tree:add_le(f.crc, tvb(0, 4))
    if not laneway.prefs.check then return end
    local said = tvb(0, 4):le_uint()
    local status = said == crc32c(tvb, 4) and "right" or said == 0 and "none" or "wrong"
    tree:add(f.crc_status, tvb(0, 4), status):set_generated()
    if status == "wrong" then item:add_proto_expert_info(bad_crc) end
end

-- ---- payloads

local function show_lane(tvb, tree)
    local item = tree:add(laneway, tvb(0, LANE), "Lane " .. tvb(0, 2):le_uint())
    item:append_text(" " .. (roles[tvb(2, 1):uint()] or "?") .. " " .. (statuses[tvb(3, 1):uint()] or "?"))
    item:add_le(f.state_id, tvb(0, 2))
    item:add_le(f.state_role, tvb(2, 1))
    item:add_le(f.state_status, tvb(3, 1))
    item:add_le(f.state_flags, tvb(4, 4)):add_le(f.state_fresh, tvb(4, 4))
    item:add(f.state_uuid, tvb(8, 16))
    local words = {
        f.state_ring, f.state_start, f.state_first, f.state_first_number, f.state_end, f.state_end_number,
        f.state_window, f.state_record_max
    }
    for i, field in ipairs(words) do item:add_le(field, tvb(16 + 8 * i, 8)) end
end

local function show_words(tvb, tree, length)
    if length > 0 then tree:add(f.words, tvb(0, length)) end
end

local function show_greeting(tvb, tree)
    if tvb:len() < GREETING then return false end
    local lanes, length = tvb(162, 2):le_uint(), tvb(164, 4):le_uint()
    tree:add(f.server, tvb(0, 64))
    tree:add(f.client, tvb(64, 64))
    tree:add(f.host, tvb(128, 16))
    tree:add_le(f.epoch, tvb(144, 8))
    tree:add_le(f.beat, tvb(152, 8))
    tree:add_le(f.service, tvb(160, 2))
    tree:add_le(f.lanes, tvb(162, 2))
    tree:add_le(f.words_length, tvb(164, 4))
    tree:add_le(f.session, tvb(168, 8))
    tree:add_le(f.what, tvb(176, 4))
    tree:add_le(f.code, tvb(180, 4))
    tree:add_le(f.accepted, tvb(184, 8))
    if tvb:len() ~= GREETING + lanes * LANE + length then return false end
    for i = 0, lanes - 1 do show_lane(tvb(GREETING + i * LANE, LANE):tvb(), tree) end
    if length > 0 then show_words(tvb(GREETING + lanes * LANE):tvb(), tree, length) end
    return true, tvb(0, 64):stringz() .. "/" .. tvb(64, 64):stringz()
end

local function show_said(tvb, tree)
    if tvb:len() < WORDS then return false end
    local length = tvb(24, 4):le_uint()
    tree:add_le(f.what, tvb(0, 4))
    tree:add_le(f.code, tvb(4, 4))
    tree:add_le(f.session, tvb(8, 8))
    tree:add_le(f.accepted, tvb(16, 8))
    tree:add_le(f.words_length, tvb(24, 4))
    if tvb:len() ~= WORDS + length then return false end
    if length > 0 then show_words(tvb(WORDS):tvb(), tree, length) end
    return true, whats[tvb(0, 4):le_uint()]
end

local function show_record(tvb, tree, position, number)
    local length = tvb(0, 4):le_uint()
    local item = tree:add(laneway, tvb(), "Record " .. tostring(number) .. ", " .. length .. " bytes")
    item:add(f.record_position, tvb(0, 0), position):set_generated()
    item:add(f.record_number, tvb(0, 0), number):set_generated()
    item:add_le(f.record_length, tvb(0, 4))
    item:add_le(f.record_type, tvb(4, 2))
    local flags = item:add_le(f.record_flags, tvb(6, 2))
    flags:add_le(f.record_committed, tvb(6, 2))
    flags:add_le(f.record_more, tvb(6, 2))
    if length > 0 then item:add(f.record_payload, tvb(8, length)) end
end

-- Returns whether it is whole records, and how many.
local function show_data(tvb, tree, position, number)
    local at, count, size = 0, 0, tvb:len()
    local item = tree:add(f.data, tvb())
    while at + 8 <= size do
        local length = tvb(at, 4):le_uint()
        local step = length + 15 - (length + 15) % 8
        if at + step > size then break end
        if count < laneway.prefs.records_max then
            show_record(tvb(at, step):tvb(), item, position + at, number + count)
        end
        at, count = at + step, count + 1
    end
    tree:add(f.records, tvb(), count):set_generated()
    return at == size, count .. (count == 1 and " record" or " records")
end

-- ---- frames

local function show_versions(tvb, tree)
    tree:add(f.magic, tvb(16, 7))
    tree:add_le(f.lowest, tvb(24, 2))
    tree:add_le(f.highest, tvb(26, 2))
    tree:add_le(f.features, tvb(32, 8)):add(f.feature_crc, tvb(32, 1), tvb(32, 1):uint() % 2 == 1)
    return tvb(16, 8):bytes():tohex(true) == MAGIC
end

local function show_ack(tvb, tree)
    tree:add_le(f.ack_lane, tvb(12, 2))
    tree:add_le(f.ack_reader, tvb(14, 2))
    tree:add_le(f.received, tvb(32, 8))
    tree:add_le(f.consumed, tvb(40, 8))
    tree:add_le(f.consumed_number, tvb(48, 8))
    tree:add_le(f.window, tvb(56, 8))
    return " ack " .. tvb(12, 2):le_uint() .. ": " .. tostring(tvb(32, 8):le_uint64()) .. ", " ..
               tostring(tvb(40, 8):le_uint64())
end

local function show_payload(tvb, tree, kind, header)
    if kind == 1 or kind == 2 then return show_greeting(tvb, tree) end
    if kind == 3 or kind == 8 or kind == 9 then return show_said(tvb, tree) end
    if kind == 4 then return show_data(tvb, tree, header(16, 8):le_uint64(), header(24, 8):le_uint64()) end
    if kind ~= 7 or tvb:len() ~= LANE then return false end
    show_lane(tvb, tree)
    return true, (roles[tvb(2, 1):uint()] or "?") .. " " .. (statuses[tvb(3, 1):uint()] or "?")
end

local function show_header(tvb, tree, kind)
    show_crc(tvb, tree)
    tree:add_le(f.length, tvb(4, 4))
    tree:add_le(f.kind, tvb(8, 1))
    local flags = tree:add_le(f.flags, tvb(9, 1))
    flags:add_le(f.flag_ack, tvb(9, 1))
    flags:add_le(f.flag_ask, tvb(9, 1))
    if kind == 4 or kind == 7 then tree:add_le(f.lane, tvb(10, 2)) end
    if kind <= 3 then return show_versions(tvb, tree), "" end
    local info = (kind == 4 or kind == 7) and " " .. tvb(10, 2):le_uint() or ""
    if kind == 4 then
        tree:add_le(f.position, tvb(16, 8))
        tree:add_le(f.number, tvb(24, 8))
        info = info .. " at " .. tostring(tvb(16, 8):le_uint64())
    end
    if tvb(9, 1):uint() % 2 == 1 then info = info .. show_ack(tvb, tree) end
    return kinds[kind] ~= nil, info
end

local function show_frame(tvb, pinfo, root)
    local kind = tvb(8, 1):uint()
    local name = kinds[kind] or "frame of unknown kind"
    local tree = root:add(laneway, tvb(), "Laneway, " .. name)
    local good, info = show_header(tvb, tree, kind)
    if tvb:len() > HEADER then
        local fine, more = show_payload(tvb(HEADER):tvb(), tree, kind, tvb)
        good = good and fine
        if more then info = info .. " (" .. more .. ")" end
    end
    if not good then tree:add_proto_expert_info(bad_frame) end
    tree:append_text(info)
    pinfo.cols.protocol = "Laneway"
    if tostring(pinfo.cols.info) ~= "" then pinfo.cols.info:append("; ") end
    pinfo.cols.info:append(name .. info)
    return tvb:len()
end

local function length_of(tvb, _, at)
    return HEADER + tvb(at + 4, 4):le_uint()
end

local function dissect(tvb, pinfo, root)
    pinfo.cols.info:clear()
    pinfo.cols.info:clear_fence()
    if tvb:len() < tvb:reported_len() then -- where the next frame begins is not known any more
        pinfo.cols.protocol = "Laneway"
        pinfo.cols.info = "cut off by the capture"
        root:add(laneway, tvb(), "Laneway, cut off by the capture")
        return tvb:len()
    end
    dissect_tcp_pdus(tvb, root, HEADER, length_of, show_frame)
    return tvb:len()
end

laneway.dissector = dissect

-- The first frame of a connection tells. (Called as laneway.dissector, it could not ask for more segments.)
local function is_ours(tvb, pinfo, root)
    if tvb:len() < 24 or tvb(8, 1):uint() ~= 1 or tvb(16, 8):bytes():tohex(true) ~= MAGIC then return false end
    pinfo.conversation = laneway
    dissect(tvb, pinfo, root)
    return true
end

laneway:register_heuristic("tcp", is_ours)
DissectorTable.get("tcp.port"):add_for_decode_as(laneway)
