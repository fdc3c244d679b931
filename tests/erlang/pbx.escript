#!/usr/bin/env escript
%% -*- coding: utf-8 -*-
%%
%% A small PBX on 127.0.0.1: a WebSocket server (RFC 6455) whose messages are what term_to_binary
%% makes of Erlang terms, one binary frame each. No TLS, no extensions, no authentication, and 1 MiB at
%% most for a message from a client.
%%
%% It says what happens on stdout, a line each:
%%
%%   listening PORT                  once, first
%%   connected GET TARGET            a client has been upgraded, and next to it
%%   header authorization VALUE      what the client sent in that header, `-` for nothing
%%   refused REASON                  no WebSocket was asked for (an HTTP error was sent), or nothing in 5 s
%%   text PAYLOAD                    a text message, complete; line breaks in it appear as spaces
%%   binary HEX                      a binary message, complete
%%   closed CODE                     the client's close frame, or its answer to ours; 1005: no code in it
%%   closed -                        the connection ended without one
%%   failed CODE REASON              the client broke the protocol and was sent CODE
%%   played first|current            a session has been sent
%%
%% It takes commands from stdin, and answers each with `ok` or `error REASON` after whatever the
%% command itself reported. Those that send go to the newest connection still open; they do not wait
%% for the client to read, up to 64 MiB, and what they send arrives in order:
%%
%%   options [OPTS]                  of term_to_binary; without OPTS the default, [{minor_version,1}]
%%   wrap none|tuple|list            a container of one around each message that is sent as a term
%%   names atom|string|binary        how the sessions write element and event names; default string
%%   send EXPR.                      one term, Erlang source in UTF-8
%%   frame HEX                       one binary frame with these bytes
%%   raw HEX                         these bytes on the TCP connection, as they are
%%   session first|current           a whole story, see first/1 and current/1
%%   close [CODE]                    a close frame; the connection stays until the client answers
%%   drop                            the end of the TCP connection, without a close frame
%%   quit                            the end; so is the end of stdin

%% Interpreted, not compiled: it starts in half the time, and OTP does what costs time later. The
%% interpreter knows no `fun name/1` of a function in this file.

-define(MESSAGE_LIMIT, 1048576).
-define(HEADER_LIMIT, 65536).
-define(QUEUE_LIMIT, 67108864).
-define(PATIENCE_MS, 5000).

main(_Arguments) ->
    ok = io:setopts(standard_io, [binary, {encoding, latin1}]),
    log_to_stderr(),
    {ok, _} = application:ensure_all_started(crypto),
    {ok, Listener} = gen_tcp:listen(0, [
        binary,
        {ip, {127, 0, 0, 1}},
        {active, false},
        {nodelay, true},
        {buffer, 262144},
        {reuseaddr, true},
        {backlog, 128},
        {high_watermark, ?QUEUE_LIMIT},
        {send_timeout, ?PATIENCE_MS},
        {send_timeout_close, true}
    ]),
    {ok, Port} = inet:port(Listener),
    PBX = self(),
    spawn_link(fun() -> accept(Listener, PBX) end),
    report([<<"listening ">>, integer_to_binary(Port)]),
    spawn_link(fun() -> read_commands(PBX) end),
    serve(#{connections => [], options => default_options(), wrap => none, names => string}).

default_options() ->
    [{minor_version, 1}].

log_to_stderr() ->
    ok = logger:remove_handler(default),
    ok = logger:add_handler(stderr, logger_std_h, #{config => #{type => standard_error}}).

report(Line) ->
    ok = file:write(standard_io, [Line, $\n]).

%% ------------------------------------------------------------------------------------------------
%% The PBX: the one process that reports, so that reports and answers come in the order of events

serve(PBX) ->
    receive
        {opened, Pid, Socket, Accepted, Target, Authorization} ->
            _ = gen_tcp:send(Socket, Accepted),
            report([<<"connected GET ">>, Target]),
            report([<<"header authorization ">>, Authorization]),
            Pid ! upgraded,
            Connections = maps:get(connections, PBX),
            serve(PBX#{connections := [{Pid, Socket} | Connections]});
        {report, Line} ->
            report(Line),
            serve(PBX);
        {ended, Pid, Line} ->
            report(Line),
            serve(forget(Pid, PBX));
        {command, Line} ->
            serve(obey(Line, PBX));
        end_of_commands ->
            finish()
    end.

forget(Pid, #{connections := Connections} = PBX) ->
    PBX#{connections := lists:keydelete(Pid, 1, Connections)}.

read_commands(PBX) ->
    case file:read_line(standard_io) of
        {ok, Line} ->
            PBX ! {command, string:trim(Line, trailing, "\r\n")},
            read_commands(PBX);
        eof ->
            PBX ! end_of_commands
    end.

obey(<<"quit">>, _PBX) ->
    report(<<"ok">>),
    finish();
obey(Line, PBX) ->
    try command(Line, PBX) of
        Changed ->
            report(<<"ok">>),
            Changed
    catch
        throw:{gone, Pid, Reason} ->
            report([<<"error ">>, text("~0tp", [Reason])]),
            forget(Pid, PBX);
        throw:{syntax, Message} ->
            report([<<"error syntax: ">>, Message]),
            PBX;
        throw:Reason ->
            report([<<"error ">>, text("~0tp", [Reason])]),
            PBX
    end.

%% What is left unsent to a client that does not read would hold up the emulator's end.
finish() ->
    Sockets = [Port || Port <- erlang:ports(), erlang:port_info(Port, name) =:= {name, "tcp_inet"}],
    [inet:setopts(Socket, [{linger, {true, 0}}]) || Socket <- Sockets, pending(Socket)],
    lists:foreach(fun gen_tcp:close/1, Sockets),
    halt(0).

pending(Socket) ->
    case inet:getstat(Socket, [send_pend]) of
        {ok, [{send_pend, Bytes}]} -> Bytes > 0;
        {error, _} -> false
    end.

command(<<"options">>, PBX) ->
    PBX#{options := default_options()};
command(<<"options ", Source/binary>>, PBX) ->
    Options = evaluate(Source),
    _ = encode(probe, Options),
    PBX#{options := Options};
command(<<"wrap ", Kind/binary>>, PBX) ->
    PBX#{wrap := one_of(Kind, [none, tuple, list])};
command(<<"names ", Kind/binary>>, PBX) ->
    PBX#{names := one_of(Kind, [atom, string, binary])};
command(<<"send ", Source/binary>>, PBX) ->
    _ = newest(PBX),
    send_term(evaluate(Source), PBX);
command(<<"frame ", Hex/binary>>, PBX) ->
    send(frame(binary, unhex(Hex)), PBX);
command(<<"raw ", Hex/binary>>, PBX) ->
    send(unhex(Hex), PBX);
command(<<"session ", Kind/binary>>, PBX) ->
    Messages =
        case one_of(Kind, [first, current]) of
            first -> first(maps:get(names, PBX));
            current -> current(maps:get(names, PBX))
        end,
    lists:foreach(fun(Message) -> send_term(Message, PBX) end, Messages),
    report([<<"played ">>, Kind]),
    PBX;
command(<<"close">>, PBX) ->
    start_close(<<>>, PBX);
command(<<"close ", Digits/binary>>, PBX) ->
    try binary_to_integer(Digits) of
        Code when Code >= 0, Code =< 65535 -> start_close(<<Code:16>>, PBX);
        _ -> throw(bad_code)
    catch
        error:badarg -> throw(bad_code)
    end;
command(<<"drop">>, PBX) ->
    {Pid, _Socket} = newest(PBX),
    drop(Pid),
    forget(Pid, PBX);
command(_, _PBX) ->
    throw(unknown_command).

one_of(Text, Atoms) ->
    case [Atom || Atom <- Atoms, atom_to_binary(Atom) =:= Text] of
        [Atom] -> Atom;
        [] -> throw({not_one_of, Atoms})
    end.

newest(#{connections := [Newest | _]}) -> Newest;
newest(#{connections := []}) -> throw(not_connected).

start_close(Payload, PBX) ->
    {Pid, _Socket} = newest(PBX),
    Pid ! closing,
    send(frame(close, Payload), PBX).

send_term(Term, #{options := Options, wrap := Wrap} = PBX) ->
    Message =
        case Wrap of
            none -> Term;
            tuple -> {Term};
            list -> [Term]
        end,
    send(frame(binary, encode(Message, Options)), PBX).

send(Bytes, PBX) ->
    {Pid, Socket} = newest(PBX),
    case gen_tcp:send(Socket, Bytes) of
        ok ->
            PBX;
        {error, timeout} ->
            drop(Pid),
            throw({gone, Pid, timeout});
        {error, Reason} ->
            %% The connection's own process will notice, and report how it ended.
            throw(Reason)
    end.

drop(Pid) ->
    Pid ! {drop, self()},
    receive
        {dropped, Pid} -> ok;
        {ended, Pid, Line} -> report(Line)
    after ?PATIENCE_MS ->
        throw({gone, Pid, timeout})
    end.

encode(Term, Options) ->
    try
        term_to_binary(Term, Options)
    catch
        error:badarg -> throw(bad_options)
    end.

unhex(Hex) ->
    try
        binary:decode_hex(Hex)
    catch
        error:badarg -> throw(bad_hex)
    end.

evaluate(Source) ->
    case unicode:characters_to_list(Source) of
        Text when is_list(Text) ->
            Expressions = parse(Text),
            try
                {value, Value, _Bindings} = erl_eval:exprs(Expressions, erl_eval:new_bindings()),
                Value
            catch
                Class:Reason -> throw({raised, Class, Reason})
            end;
        _ ->
            throw(source_is_not_utf8)
    end.

parse(Text) ->
    case erl_scan:string(Text) of
        {ok, Tokens, End} ->
            case erl_parse:parse_exprs(with_dot(Tokens, End)) of
                {ok, Expressions} -> Expressions;
                {error, {_Where, Module, What}} -> throw({syntax, text(Module:format_error(What))})
            end;
        {error, {_Where, Module, What}, _End} ->
            throw({syntax, text(Module:format_error(What))})
    end.

with_dot(Tokens, End) ->
    case lists:reverse(Tokens) of
        [{dot, _} | _] -> Tokens;
        _ -> Tokens ++ [{dot, End}]
    end.

text(Characters) ->
    unicode:characters_to_binary(Characters).

text(Format, Arguments) ->
    text(io_lib:format(Format, Arguments)).

%% ------------------------------------------------------------------------------------------------
%% Connections: a process each, which reads, and answers what the protocol itself demands

accept(Listener, PBX) ->
    case gen_tcp:accept(Listener) of
        {ok, Socket} ->
            hand_over(Socket, PBX),
            accept(Listener, PBX);
        {error, closed} ->
            ok
    end.

hand_over(Socket, PBX) ->
    Pid = spawn_link(fun() ->
        receive
            owner -> handshake(Socket, PBX, <<>>)
        end
    end),
    case gen_tcp:controlling_process(Socket, Pid) of
        ok -> ok;
        {error, _} -> gen_tcp:close(Socket)
    end,
    Pid ! owner.

handshake(Socket, PBX, Buffer) ->
    case binary:split(Buffer, <<"\r\n\r\n">>) of
        [Head, Rest] ->
            upgrade(Socket, PBX, Head, Rest);
        [_] when byte_size(Buffer) > ?HEADER_LIMIT ->
            refuse(Socket, PBX, <<"431 Request Header Fields Too Large">>, <<"header_too_large">>);
        [_] ->
            case gen_tcp:recv(Socket, 0, ?PATIENCE_MS) of
                {ok, More} -> handshake(Socket, PBX, <<Buffer/binary, More/binary>>);
                {error, Reason} -> PBX ! {report, [<<"refused ">>, atom_to_binary(Reason)]}
            end
    end.

upgrade(Socket, PBX, Head, Rest) ->
    [RequestLine | Lines] = binary:split(Head, <<"\r\n">>, [global]),
    Headers = maps:from_list([header(Line) || Line <- Lines]),
    Wrong = [
        Name
     || {Name, Right} <- [
            {<<"upgrade">>, fun(Value) -> has_token(Value, <<"websocket">>) end},
            {<<"connection">>, fun(Value) -> has_token(Value, <<"upgrade">>) end},
            {<<"sec-websocket-version">>, fun(Value) -> Value =:= <<"13">> end},
            {<<"sec-websocket-key">>, fun(Value) -> is_key(Value) end}
        ],
        not Right(maps:get(Name, Headers, <<>>))
    ],
    case {binary:split(RequestLine, <<" ">>, [global]), Wrong} of
        {[<<"GET">>, Target, <<"HTTP/1.1">>], []} ->
            Accepted = accepted(maps:get(<<"sec-websocket-key">>, Headers)),
            Authorization = maps:get(<<"authorization">>, Headers, <<"-">>),
            %% The PBX itself sends the answer: once the client has it, commands reach this connection.
            PBX ! {opened, self(), Socket, Accepted, Target, Authorization},
            receive
                upgraded -> ok
            end,
            Connection = #{socket => Socket, pbx => PBX, message => none, closing => false},
            received(Rest, Connection);
        {[<<"GET">>, _, <<"HTTP/1.1">>], [Name | _]} ->
            refuse(Socket, PBX, <<"400 Bad Request">>, Name);
        _ ->
            refuse(Socket, PBX, <<"400 Bad Request">>, <<"request_line">>)
    end.

header(Line) ->
    case binary:split(Line, <<":">>) of
        [Name, Value] -> {string:lowercase(Name), string:trim(Value, both, " \t")};
        [Name] -> {string:lowercase(Name), <<>>}
    end.

has_token(Value, Token) ->
    Tokens = binary:split(string:lowercase(Value), <<",">>, [global]),
    lists:member(Token, [string:trim(Each, both, " \t") || Each <- Tokens]).

is_key(Value) ->
    try
        byte_size(base64:decode(Value)) =:= 16
    catch
        error:_ -> false
    end.

accepted(Key) ->
    Digest = crypto:hash(sha, [Key, <<"258EAFA5-E914-47DA-95CA-C5AB0DC85B11">>]),
    [
        <<"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n">>,
        <<"Sec-WebSocket-Accept: ">>,
        base64:encode(Digest),
        <<"\r\n\r\n">>
    ].

refuse(Socket, PBX, Status, Reason) ->
    _ = gen_tcp:send(Socket, [
        <<"HTTP/1.1 ">>,
        Status,
        <<"\r\nSec-WebSocket-Version: 13\r\nContent-Length: 0\r\nConnection: close\r\n\r\n">>
    ]),
    PBX ! {report, [<<"refused ">>, Reason]},
    drain(Socket).

received(Buffer, #{socket := Socket} = Connection) ->
    case next_frame(Buffer) of
        {frame, Final, Opcode, Payload, Rest} ->
            case handle(Opcode, Final, Payload, Connection) of
                {go_on, Changed} -> received(Rest, Changed);
                stop -> ok
            end;
        {bad, Code, Reason} ->
            fail(Code, Reason, Connection);
        more ->
            %% Fails when the connection has gone meanwhile; the message about that is in the mailbox then.
            _ = inet:setopts(Socket, [{active, once}]),
            wait(Buffer, Connection)
    end.

wait(Buffer, #{socket := Socket, pbx := PBX} = Connection) ->
    receive
        {tcp, Socket, Bytes} ->
            received(<<Buffer/binary, Bytes/binary>>, Connection);
        {tcp_error, Socket, _Reason} ->
            wait(Buffer, Connection);
        {tcp_closed, Socket} ->
            PBX ! {ended, self(), <<"closed -">>};
        closing ->
            wait(Buffer, Connection#{closing := true});
        {drop, From} ->
            %% What is queued goes out first, however long the client takes to read it.
            case pending(Socket) of
                true ->
                    From ! {dropped, self()},
                    _ = gen_tcp:close(Socket);
                false ->
                    _ = gen_tcp:close(Socket),
                    From ! {dropped, self()}
            end
    end.

next_frame(<<_:1, Reserved:3, _:4, _/binary>>) when Reserved =/= 0 ->
    {bad, 1002, <<"reserved_bits">>};
next_frame(<<_:8, 0:1, _:7, _/binary>>) ->
    {bad, 1002, <<"not_masked">>};
next_frame(<<Final:1, _:3, Opcode:4, 1:1, Short:7, _/binary>>) when
    Opcode >= 8, (Final =:= 0 orelse Short > 125)
->
    {bad, 1002, <<"bad_control_frame">>};
next_frame(<<_:9, 127:7, Size:64, _/binary>>) when Size > ?MESSAGE_LIMIT ->
    {bad, 1009, <<"too_large">>};
next_frame(<<Final:1, _:3, Opcode:4, 1:1, 127:7, Size:64, Mask:4/binary, Masked:Size/binary, Rest/binary>>) ->
    {frame, Final, Opcode, unmask(Mask, Masked), Rest};
next_frame(<<Final:1, _:3, Opcode:4, 1:1, 126:7, Size:16, Mask:4/binary, Masked:Size/binary, Rest/binary>>) ->
    {frame, Final, Opcode, unmask(Mask, Masked), Rest};
next_frame(<<Final:1, _:3, Opcode:4, 1:1, Size:7, Mask:4/binary, Masked:Size/binary, Rest/binary>>) when
    Size < 126
->
    {frame, Final, Opcode, unmask(Mask, Masked), Rest};
next_frame(_) ->
    more.

unmask(Mask, Masked) ->
    Size = byte_size(Masked),
    Stream = binary:copy(Mask, Size div 4 + 1),
    crypto:exor(Masked, binary:part(Stream, 0, Size)).

handle(0, _Final, _Payload, #{message := none} = Connection) ->
    fail(1002, <<"nothing_to_continue">>, Connection);
handle(0, Final, Payload, #{message := {Opcode, Parts}} = Connection) ->
    message(Final, Opcode, <<Parts/binary, Payload/binary>>, Connection);
handle(Opcode, Final, Payload, #{message := none} = Connection) when Opcode =:= 1; Opcode =:= 2 ->
    message(Final, Opcode, Payload, Connection);
handle(Opcode, _Final, _Payload, Connection) when Opcode =:= 1; Opcode =:= 2 ->
    fail(1002, <<"message_inside_message">>, Connection);
handle(8, _Final, Payload, Connection) ->
    closed(Payload, Connection);
handle(9, _Final, Payload, #{socket := Socket} = Connection) ->
    _ = gen_tcp:send(Socket, frame(pong, Payload)),
    {go_on, Connection};
handle(10, _Final, _Payload, Connection) ->
    {go_on, Connection};
handle(_, _Final, _Payload, Connection) ->
    fail(1002, <<"unknown_opcode">>, Connection).

message(_Final, _Opcode, Payload, Connection) when byte_size(Payload) > ?MESSAGE_LIMIT ->
    fail(1009, <<"too_large">>, Connection);
message(0, Opcode, Payload, Connection) ->
    {go_on, Connection#{message := {Opcode, Payload}}};
message(1, 2, Payload, #{pbx := PBX} = Connection) ->
    PBX ! {report, [<<"binary ">>, binary:encode_hex(Payload)]},
    {go_on, Connection#{message := none}};
message(1, 1, Payload, #{pbx := PBX} = Connection) ->
    case unicode:characters_to_binary(Payload) of
        Payload ->
            Line = binary:replace(Payload, [<<"\r">>, <<"\n">>], <<" ">>, [global]),
            PBX ! {report, [<<"text ">>, Line]},
            {go_on, Connection#{message := none}};
        _ ->
            fail(1007, <<"not_utf8">>, Connection)
    end.

closed(<<_>>, Connection) ->
    fail(1002, <<"bad_close_frame">>, Connection);
closed(Payload, #{socket := Socket, pbx := PBX} = Connection) ->
    {Code, Answer} =
        case Payload of
            <<Number:16, _Reason/binary>> -> {Number, <<Number:16>>};
            <<>> -> {1005, <<>>}
        end,
    case is_closing(Connection) of
        true -> ok;
        false -> _ = gen_tcp:send(Socket, frame(close, Answer))
    end,
    _ = gen_tcp:close(Socket),
    PBX ! {ended, self(), [<<"closed ">>, integer_to_binary(Code)]},
    stop.

%% The PBX may have begun to close while this process was busy with a frame.
is_closing(#{closing := true}) ->
    true;
is_closing(_) ->
    receive
        closing -> true
    after 0 -> false
    end.

fail(Code, Reason, #{socket := Socket, pbx := PBX}) ->
    _ = gen_tcp:send(Socket, frame(close, <<Code:16, Reason/binary>>)),
    PBX ! {ended, self(), [<<"failed ">>, integer_to_binary(Code), $\s, Reason]},
    drain(Socket),
    stop.

%% Closing at once would reset the connection while the client still sends, and take our last words with it.
drain(Socket) ->
    _ = gen_tcp:shutdown(Socket, write),
    discard(Socket).

discard(Socket) ->
    case gen_tcp:recv(Socket, 0, ?PATIENCE_MS) of
        {ok, _} -> discard(Socket);
        {error, _} -> gen_tcp:close(Socket)
    end.

frame(Kind, Payload) ->
    Opcode =
        case Kind of
            binary -> 2;
            close -> 8;
            pong -> 10
        end,
    Size = byte_size(Payload),
    Length =
        if
            Size < 126 -> <<Size>>;
            Size < 65536 -> <<126, Size:16>>;
            true -> <<127, Size:64>>
        end,
    [<<1:1, 0:3, Opcode:4>>, Length, Payload].

%% ------------------------------------------------------------------------------------------------
%% The sessions: one story, told as a PBX of each generation tells it
%%
%% c0, with two customers, is there from the start and stays. c1 comes in from a customer to a group,
%% c2 is its other leg to the user Suzuki. c1 is answered, bridged with c2, parked in slot 901 and
%% taken back; somebody else leaves Suzuki a voicemail; c1 and c2 hang up.
%%
%% Where the protocol leaves the type of a value open: ids are integers, directions, places and types
%% are atoms, everything meant to be read is a binary.

first(Names) ->
    {There, Call, {Parked, Unparked}, End} = story(first),
    Spec = fun(Kind) -> {field_spec, name(Kind, Names), fields(Kind)} end,
    Channels = fun(Steps) -> [{chan_info, row("chan_info", Channel, Names)} || {_, Channel} <- Steps] end,
    Slot = #{uuid => <<"c1">>, park_slot => <<"901">>, parker_id => 1, parker_name => <<"suzuki">>},
    Voicemail = #{
        target_type => user,
        target_id => 1,
        target_name => <<"suzuki">>,
        new_messages => 1,
        saved_messages => 0
    },
    lists:append([
        [Spec("chan_info"), Spec("park_info"), Spec("unpark_info"), Spec("mwi_info")],
        [{initial_chan_info, [row("chan_info", There, Names)]}],
        Channels(Call),
        Channels(Parked),
        [{park_info, row("park_info", Slot, Names)}],
        [{unpark_info, row("unpark_info", Slot, Names)}],
        Channels(Unparked),
        [{mwi_info, row("mwi_info", Voicemail, Names)}],
        Channels(End)
    ]).

current(Names) ->
    {There, Call, {Parked, Unparked}, End} = story(current),
    Initial = fun
        (Element, []) ->
            [
                {field_spec, name(Element, Names), fields(Element)},
                {initial_info, name(Element, Names), {bert, nil}}
            ];
        (Element, Things) ->
            [
                {field_spec, name(Element, Names), fields(Element)},
                {initial_info, name(Element, Names), [row(Element, Thing, Names) || Thing <- Things]}
            ]
    end,
    Event = fun(Element, Thing, What) ->
        {info_event, name(Element, Names), row(Element, Thing, Names), name(What, Names)}
    end,
    Channels = fun(Steps) -> [Event("channel", Channel, What) || {What, Channel} <- Steps] end,
    [{_, Waiting} | _] = Parked,
    [Suzuki | _] = users(),
    lists:append([
        Initial("domain", [#{id => 1, name => <<"example">>}]),
        Initial("user", users()),
        Initial("group", groups()),
        Initial("group_member", []),
        Initial("terminal", terminals()),
        Initial("channel", [There]),
        Initial("channel_waiting", []),
        Channels(Call),
        Channels(Parked),
        [Event("channel_waiting", Waiting, "added")],
        [Event("channel_waiting", Waiting, "removed")],
        Channels(Unparked),
        [Event("user", Suzuki#{mwi := <<"1/0">>}, "updated")],
        [{system_msg, {auto_answer, <<"c2">>}}],
        [{msg, <<"会議は15時からです"/utf8>>}],
        lists:append([Channels([{"updated", C}, {"removed", C}]) || {_, C} <- End])
    ]).

name(Text, atom) -> list_to_atom(Text);
name(Text, string) -> Text;
name(Text, binary) -> list_to_binary(Text).

row(Kind, Values, Names) ->
    list_to_tuple([value(Field, maps:get(Field, Values, undefined), Names) || Field <- fields(Kind)]).

value(last_event, Text, Names) -> name(Text, Names);
value(_, Value, _) -> Value.

fields("chan_info") ->
    [
        uuid,
        direction,
        peer_location,
        calling_name,
        calling_number,
        called_number,
        offer_timestamp,
        answer_timestamp,
        hangup_timestamp,
        other_uuid,
        user_name,
        user_id,
        state,
        group_id,
        group_name,
        target,
        last_event
    ];
fields("park_info") ->
    [uuid, park_slot, parker_id, parker_name];
fields("unpark_info") ->
    [uuid, park_slot];
fields("mwi_info") ->
    [target_type, target_id, target_name, new_messages, saved_messages];
fields("domain") ->
    %% Nothing is known about a domain's fields; these two are a guess.
    [id, name];
fields("user") ->
    [
        id,
        name,
        fwd_always_status,
        do_not_disturb_status,
        language,
        main_extension,
        presence,
        role,
        park_group,
        mwi_target,
        flags,
        followme,
        email,
        avatar,
        label,
        mwi
    ];
fields("group") ->
    [id, name, type, language, main_extension, queue, label, flags, check_login_status, mwi];
fields("group_member") ->
    [id, group_id, user_id, priority, login_status, role];
fields("terminal") ->
    [id, name, assoc_user_id, type, user_agent, registered];
fields("channel_waiting") ->
    fields("channel");
fields("channel") ->
    [
        uuid,
        direction,
        peer_location,
        calling_name,
        calling_number,
        called_number,
        offer_timestamp,
        answer_timestamp,
        hangup_timestamp,
        other_uuid,
        user_id,
        state,
        group_id,
        target,
        origination,
        end_user,
        tags,
        last_bridged_user_id,
        last_event,
        last_event_data,
        other_info,
        call_id,
        whoscall
    ].

%% The channels of the story, with the values of both generations: row/3 takes those its fields name.
%% The channel that is there already, and as [{Event, Channel}]: the call, parking and back, the end.
story(Generation) ->
    C1 = customers_leg(),
    C1Calling = C1#{state => calling_group(Generation), last_event => "NEW_CHANNEL"},
    C1Answered = C1Calling#{answer_timestamp => at(15), last_event := "CHANNEL_ANSWER"},
    C1Bridged = C1Answered#{
        state := {at(15), bridged},
        other_uuid => <<"c2">>,
        last_bridged_user_id => 1,
        other_info => {user, 1, outbound, internal, <<"101">>, at(11), 21, undefined},
        last_event := "CHANNEL_BRIDGE"
    },
    C1Parked = C1Bridged#{
        state := parked(Generation),
        other_uuid := undefined,
        other_info := undefined,
        last_event := "CHANNEL_PARK"
    },
    C1Back = C1Bridged#{state := {at(40), bridged}},
    C2 = users_leg(),
    C2Calling = C2#{state => calling_user(Generation), last_event => "CHANNEL_ORIGINATE"},
    C2Answered = C2Calling#{answer_timestamp => at(15), last_event := "CHANNEL_ANSWER"},
    C2Bridged = C2Answered#{state := {at(15), bridged}, last_event := "CHANNEL_BRIDGE"},
    C2Alone = C2Bridged#{
        state := {at(30), system_operation, <<"park">>},
        other_uuid := undefined,
        other_info := undefined,
        last_event := "STATE_CHANGE"
    },
    C2Back = C2Bridged#{state := {at(40), bridged}},
    HungUp = #{
        hangup_timestamp => at(60),
        last_event => "CHANNEL_HANGUP",
        last_event_data => <<"recv_bye,NORMAL_CLEARING">>
    },
    Call = [
        {"added", C1Calling},
        {"added", C2Calling},
        {"updated", C2Answered},
        {"updated", C1Answered},
        {"updated", C1Bridged},
        {"updated", C2Bridged}
    ],
    Parking = {
        [{"updated", C1Parked}, {"updated", C2Alone}],
        [{"updated", C1Back}, {"updated", C2Back}]
    },
    End = [{"updated", maps:merge(C1Back, HungUp)}, {"updated", maps:merge(C2Back, HungUp)}],
    {already_there(Generation), Call, Parking, End}.

calling_group(first) -> {at(10), calling, group, 21, <<"support">>};
calling_group(current) -> {at(10), calling, int, group, {0, 21, undefined, undefined, 5}}.

calling_user(first) -> {at(11), calling, user, 1, <<"suzuki">>};
calling_user(current) -> {at(11), calling, int, user, {1}}.

parked(first) -> {at(30), park, <<"901">>};
parked(current) -> {at(30), park, <<"901">>, undefined, 1, <<"suzuki">>}.

in_menu(first) -> {at(-300), plivo};
in_menu(current) -> {at(-300), xml_ivr}.

already_there(Generation) ->
    #{
        uuid => <<"c0">>,
        direction => outbound,
        peer_location => external,
        calling_name => <<"Example">>,
        calling_number => <<"0501234567">>,
        called_number => <<"0667890123">>,
        offer_timestamp => at(-320),
        answer_timestamp => at(-300),
        state => in_menu(Generation),
        origination => <<"callback*", (percent("折り返し #7"))/binary>>,
        end_user => sato_and_tanaka(),
        tags => <<>>,
        last_event => "CHANNEL_APPLICATION",
        call_id => <<"c0@pbx.example">>
    }.

customers_leg() ->
    #{
        uuid => <<"c1">>,
        direction => inbound,
        peer_location => external,
        calling_name => <<"山田太郎"/utf8>>,
        calling_number => <<"0312345678">>,
        called_number => <<"0501234567">>,
        offer_timestamp => at(10),
        group_id => 21,
        group_name => <<"support">>,
        target => {group, 21, <<"support">>, <<"0501234567">>},
        end_user => yamada(),
        tags => <<"a;b">>,
        call_id => <<"c1@carrier.example">>,
        whoscall => who_is_calling()
    }.

users_leg() ->
    #{
        uuid => <<"c2">>,
        direction => outbound,
        peer_location => internal,
        calling_name => <<"山田太郎"/utf8>>,
        calling_number => <<"0312345678">>,
        called_number => <<"101">>,
        offer_timestamp => at(11),
        other_uuid => <<"c1">>,
        user_name => <<"suzuki">>,
        user_id => 1,
        group_id => 21,
        group_name => <<"support">>,
        target => {user, 1, <<"suzuki">>, <<"101">>},
        end_user => <<"****">>,
        tags => <<>>,
        other_info =>
            {end_user, yamada(), inbound, external, <<"0312345678">>, at(10), undefined, who_is_calling()},
        call_id => <<"c2">>
    }.

users() ->
    [
        #{
            id => 1,
            name => <<"suzuki">>,
            fwd_always_status => false,
            do_not_disturb_status => false,
            language => <<"ja">>,
            main_extension => <<"101">>,
            presence => <<"available">>,
            role => <<"admin">>,
            park_group => 1,
            mwi_target => <<"101">>,
            flags => <<>>,
            followme => {bert, nil},
            email => <<"suzuki@pbx.example">>,
            avatar => <<"suzuki.png">>,
            label => <<"鈴木 一郎"/utf8>>,
            mwi => <<>>
        },
        #{
            id => 2,
            name => <<"garcia">>,
            fwd_always_status => true,
            do_not_disturb_status => true,
            language => <<"en">>,
            main_extension => <<"102">>,
            presence => <<"away">>,
            role => <<"user">>,
            flags => <<>>,
            followme => [<<"09011112222">>],
            label => <<"Ana García"/utf8>>,
            mwi => <<"0/3">>
        }
    ].

groups() ->
    [
        #{
            id => 21,
            name => <<"support">>,
            type => 0,
            language => <<"ja">>,
            main_extension => <<"201">>,
            queue => 5,
            label => <<"サポート"/utf8>>,
            flags => <<>>,
            check_login_status => true,
            mwi => <<>>
        },
        #{
            id => 22,
            name => <<"sales">>,
            type => 1,
            language => <<"ja">>,
            main_extension => <<"202">>,
            label => <<"営業"/utf8>>,
            flags => <<>>,
            check_login_status => false,
            mwi => <<>>
        }
    ].

terminals() ->
    [
        #{
            id => 31,
            name => <<"desk-101">>,
            assoc_user_id => 1,
            type => <<"sip">>,
            user_agent => <<"Example Phone 1.0">>,
            registered => true
        }
    ].

yamada() ->
    customer(["1001", "山田 太郎", "Example*Trading", "1001.png", "東京都"]).

sato_and_tanaka() ->
    Sato = customer(["2001", "佐藤 花子", "Sato & Sons", "2001.png", "大阪府"]),
    Tanaka = customer(["2002", "Tanaka 100%", "", "", ""]),
    <<"_MANY_:2|", Sato/binary, "|", Tanaka/binary>>.

who_is_calling() ->
    percent("{\"name\":\"山田太郎\",\"spam\":false}").

customer(Parts) ->
    iolist_to_binary(lists:join($*, [percent(Part) || Part <- Parts])).

%% Percent-encoding as HTML forms do it: a space is a plus.
percent(Text) ->
    <<<<(percent_byte(Byte))/binary>> || <<Byte>> <= text(Text)>>.

percent_byte($\s) -> <<"+">>;
percent_byte(Byte) when Byte >= $a, Byte =< $z -> <<Byte>>;
percent_byte(Byte) when Byte >= $A, Byte =< $Z -> <<Byte>>;
percent_byte(Byte) when Byte >= $0, Byte =< $9 -> <<Byte>>;
percent_byte(Byte) when Byte =:= $-; Byte =:= $_; Byte =:= $. -> <<Byte>>;
percent_byte(Byte) -> <<"%", (binary:encode_hex(<<Byte>>))/binary>>.

%% Microseconds since the epoch, counted in seconds from the start of 1 April 2026, UTC.
at(Seconds) ->
    1775001600123456 + Seconds * 1000000.
