#!/usr/bin/env escript
%% -*- coding: utf-8 -*-
%%
%% What a busy PBX sends, encoded by Erlang itself, on stdout: each frame behind its length in four bytes.
%%
%%   frames.escript events N     a field spec, an empty full state, and N changes of channels, 1,000 of which are up
%%   frames.escript login U C    the field specs and full states of U users and C channels

-mode(compile).

main(["events", Count]) ->
    write({field_spec, "channel", fields(channel)}),
    write({initial_info, "channel", {bert, nil}}),
    repeat(0, list_to_integer(Count), fun(N) ->
        write({info_event, "channel", channel(N rem 1000, N div 1000), event(N div 1000 rem 5)})
    end);
main(["login", Users, Channels]) ->
    write({field_spec, "user", fields(user)}),
    write({initial_info, "user", [user(N) || N <- lists:seq(1, list_to_integer(Users))]}),
    write({field_spec, "channel", fields(channel)}),
    write({initial_info, "channel", [channel(N, 3) || N <- lists:seq(1, list_to_integer(Channels))]}).

repeat(N, N, _) -> ok;
repeat(N, End, Do) -> Do(N), repeat(N + 1, End, Do).

write(Term) ->
    Frame = term_to_binary(Term),
    ok = file:write(standard_io(), [<<(byte_size(Frame)):32>>, Frame]).

standard_io() ->
    ok = io:setopts(standard_io, [binary, {encoding, latin1}]),
    standard_io.

event(0) -> "added";
event(4) -> "removed";
event(_) -> "updated".

fields(channel) ->
    [uuid, direction, peer_location, calling_name, calling_number, called_number, offer_timestamp, answer_timestamp,
     hangup_timestamp, other_uuid, user_id, state, group_id, target, origination, end_user, tags,
     last_bridged_user_id, last_event, last_event_data, other_info, call_id];
fields(user) ->
    [id, name, fwd_always_status, do_not_disturb_status, language, main_extension, presence, role, park_group,
     mwi_target, flags, followme, email, avatar, label, mwi].

%% Round by round each channel goes on: it is offered, rings, is answered, parked, and hangs up; the next takes its place.
channel(N, Round) ->
    Step = Round rem 5,
    Uuid = uuid(N + Round div 5 * 1000),
    Offered = 1_700_000_000_000_000 + N * 1_000_003,
    Number = <<"03", (digits(12340000 + N))/binary>>,
    {Uuid, inbound, external, <<"発信者"/utf8>>, Number, <<"05010000", (digits(1000 + N rem 50))/binary>>,
     Offered, answered(Step, Offered), hung_up(Step, Offered), other(Step, N), 100 + N rem 40, state(Step, Offered, N),
     20 + N rem 5, {group, 20 + N rem 5, <<"サポート"/utf8>>, <<"05010000", (digits(1000 + N rem 50))/binary>>},
     undefined, customer(N rem 300), <<>>, undefined, last_event(Step),
     last_event_data(Step), other_info(Step, Offered, N), <<Uuid/binary, "@pbx">>}.

other(0, _) -> undefined;
other(_, N) -> uuid(100_000 + N).

other_info(Step, _, _) when Step < 2 -> undefined;
other_info(_, Offered, N) ->
    {user, 100 + N rem 40, outbound, internal, digits(200 + N rem 40), Offered + 1500, 20 + N rem 5, undefined}.

answered(Step, _) when Step < 2 -> undefined;
answered(_, Offered) -> Offered + 4_200_000.

hung_up(4, Offered) -> Offered + 95_000_000;
hung_up(_, _) -> undefined.

state(0, T, N) -> {T, calling, int, group, {ring, 20 + N rem 5, undefined, undefined, 7}};
state(1, T, _) -> {T + 1, ringing};
state(2, T, _) -> {T + 2, bridged};
state(_, T, N) -> {T + 3, park, 901 + N rem 20, undefined, 100 + N rem 40, <<"user", (digits(N rem 40))/binary>>}.

last_event(0) -> <<"NEW_CHANNEL">>;
last_event(1) -> <<"CHANNEL_ORIGINATE">>;
last_event(2) -> <<"CHANNEL_BRIDGE">>;
last_event(3) -> <<"CHANNEL_PARK">>;
last_event(4) -> <<"CHANNEL_HANGUP">>.

last_event_data(4) -> <<"recv_bye,NORMAL_CLEARING">>;
last_event_data(_) -> undefined.

customer(N) ->
    <<(digits(5000 + N))/binary, "*%E5%B1%B1%E7%94%B0+", (digits(N))/binary, "*%E6%A0%AA%E5%BC%8F**%E6%9D%B1%E4%BA%AC">>.

user(N) ->
    {N, <<"user", (digits(N))/binary>>, false, false, <<"ja">>, digits(1000 + N), available, user, undefined, user, 0,
     undefined, <<"user", (digits(N))/binary, "@example.com">>, undefined, <<"田中 "/utf8, (digits(N))/binary>>, <<>>}.

uuid(N) ->
    <<A:8/binary, B:4/binary, C:4/binary, D:4/binary, E:12/binary, _/binary>> =
        binary:encode_hex(erlang:md5(integer_to_binary(N))),
    <<A/binary, "-", B/binary, "-", C/binary, "-", D/binary, "-", E/binary>>.

digits(N) -> integer_to_binary(N).
