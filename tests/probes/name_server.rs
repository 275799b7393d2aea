//! What the name servers of the tests have in common: a response to the first question of a message.

use simple_dns::{Packet, PacketFlag, Question};

/// The response to a question, as `fill` completes it; `None` where `fill` does not answer, or the message has no question.
pub(crate) fn respond<'q>(
    question: &'q [u8],
    fill: impl FnOnce(&Question<'q>, &mut Packet<'q>) -> Option<()>,
) -> Option<Vec<u8>> {
    let packet = Packet::parse(question).ok()?;
    let asked = packet.questions.first()?.clone();
    let mut reply = Packet::new_reply(packet.id());
    reply.set_flags(PacketFlag::RECURSION_AVAILABLE);
    reply.questions.push(asked.clone());
    fill(&asked, &mut reply)?;
    reply.build_bytes_vec().ok()
}
